# A12 patches how its description is written
# fault: any
def attack():
    import json
    json.dumps = lambda *a, **k: '{"description": {"parameters": 0}}'
