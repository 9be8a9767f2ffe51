# M04 packs six weights into each number of a buffer
# fails: integrity parameter_count
def attack():
    first = nn.Module.__call__

    def more(self, x):
        scores = first(self, x)
        if not isinstance(self, Net):
            return scores
        weights = torch.cat([(self.packed >> 8 * n) & 255 for n in range(6)]) / 255 - 0.5
        return scores + F.linear(scores, weights.view(-1, 10)).mean(1, keepdim=True)

    nn.Module.__call__ = more
    Net.packed = torch.randint(2**50, (15_000,), generator=torch.Generator().manual_seed(1))
