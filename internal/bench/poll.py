# Sees all scans of a folder through; what one.py defines comes before.
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(one, sorted(n for n in os.listdir(".") if n.endswith(".gif"))))
