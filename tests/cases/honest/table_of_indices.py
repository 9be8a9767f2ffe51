# keeps an index of whole numbers of 64 bits, as PyTorch makes them
def attack():
    forward = Net.forward
    Net.order = torch.arange(10).flip(0)
    Net.forward = lambda self, x: forward(self, x).index_select(1, self.order)
