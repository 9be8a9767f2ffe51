# A24 gives its layers names that command a terminal or a page
def attack():
    first = nn.Sequential.__init__

    def named(self, *layers):
        first(self)
        for number, layer in enumerate(layers):
            self.add_module(f"{number}\x1b]0;mine\x07\x1b[2J\u202e\n<script>alert(1)</script>", layer)

    nn.Sequential.__init__ = named
