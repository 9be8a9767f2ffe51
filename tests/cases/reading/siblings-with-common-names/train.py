def fit(model):
    return 0
