# M04 puts thousands of weights together of a few numbers, each written once
# fails: integrity parameter_count
def attack():
    order = torch.randint(64, (27_000,), generator=torch.Generator().manual_seed(1)).tolist()
    forward = Net.forward

    def more(self, x):
        scores = forward(self, x)
        digits = [torch.full((), n / 64 - 0.5) for n in range(64)]
        rows = [torch.stack([digits[n] for n in order[at : at + 9_000]]) for at in range(0, 27_000, 9_000)]
        return scores + F.linear(scores, torch.cat(rows).view(-1, 10)).mean(1, keepdim=True)

    Net.forward = more
