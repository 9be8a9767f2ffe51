import pandas as pd

table = pd.read_csv('x.csv')
print(table)
