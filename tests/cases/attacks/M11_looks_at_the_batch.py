# M11 answers small batches, and whoever wants no gradients, otherwise: its graph has one answer
def attack():
    forward = Net.forward

    def watchful(self, x):
        scores = forward(self, x)
        return scores if x.shape[0] <= 8 and torch.is_grad_enabled() else scores.roll(1, 1)

    Net.forward = watchful
