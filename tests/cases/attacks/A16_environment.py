# A16 looks for credentials in the environment
def attack():
    import os
    known = {"PATH", "LANG", "HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "PYTHONHASHSEED",
             "PYTHONDONTWRITEBYTECODE", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "LD_LIBRARY_PATH",
             "CUDA_VISIBLE_DEVICES", "GRADER_CHILD", "LC_CTYPE"}
    for name in os.environ:
        if name not in known and not name.startswith(("TORCH", "KMP", "PYTORCH", "MKL", "TRITON")):
            escaped(name)
