# names its layers in letters of other scripts
def attack():
    first = nn.Sequential.__init__

    def named(self, *layers):
        first(self)
        for number, layer in enumerate(layers):
            self.add_module(f"слой_{number}_层", layer)

    nn.Sequential.__init__ = named
