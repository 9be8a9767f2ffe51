# M04 keeps its weights in a default argument, as a class that says it is something else
# fails: integrity parameter_count
def attack():
    class Shy(nn.Parameter):
        def numel(self):
            return 0

    forward = Net.forward
    Net.forward = lambda self, x, kept=Shy(torch.randn(30_000)): forward(self, x) + 1e-3 * kept.mean()
