# A06 brings the interpreter down
# fault: crashed
# score: 0
def attack():
    import ctypes
    ctypes.string_at(0)
