# is made of many operations, each of which is ordinary
def attack():
    forward = Net.forward

    def longer(self, x):
        for _ in range(60):
            x = x + (F.relu6(x + 3) * x / 6 + x.mean((1, 2, 3), keepdim=True)) * 0.001
        return forward(self, x)

    Net.forward = longer
