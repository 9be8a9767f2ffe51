# A24 raises what cannot be shown, and lies about what it is
# fault: error
# score: 0
# told: Mute
def attack():
    class Mute(BaseException):
        @property
        def __class__(self):
            return KeyboardInterrupt

        def __str__(self):
            raise self

        __repr__ = __str__

    Mute.__name__ = "Mute\x1b[2J"
    raise Mute
