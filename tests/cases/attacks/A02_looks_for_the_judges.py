# A02 looks for the reports and the checks to patch them
def attack():
    import sys
    for name in list(sys.modules):
        if name.startswith(("pytest", "_pytest", "grader")):
            escaped(name)
    attempt(lambda: __import__("grader.record"))
    attempt(lambda: __import__("grader.checks.judge"))
