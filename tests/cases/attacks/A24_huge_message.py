# A24 fails with a message of fifty megabytes that tries to look like something else
# fault: error
# score: 0
def attack():
    raise ValueError("\x1b[2J<script>alert(1)</script>" * 2_000_000)
