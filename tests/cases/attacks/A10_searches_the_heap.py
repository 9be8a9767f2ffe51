# A10 searches frames and heap for answers
def attack():
    import gc, sys
    frame = sys._getframe()
    while frame is not None:
        for name, value in list(frame.f_locals.items()):
            if "label" in name.lower() or "rubric" in name.lower() or "points" in name.lower():
                escaped(name)
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (bytes, bytearray)) and len(thing) in (10_008, 10_000):
            escaped("labels")
