# starts a program that takes too long and kills it
def attack():
    import subprocess, sys
    slow = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        slow.wait(0.1)
    except subprocess.TimeoutExpired:
        slow.kill()
    assert slow.wait() == -9
