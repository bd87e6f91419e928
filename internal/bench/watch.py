# Sees the scans of a folder through as they come, with the watchdog module.
import concurrent.futures, os, sys, threading
import watchdog.events, watchdog.observers

pool = concurrent.futures.ThreadPoolExecutor(8)


class Scans(watchdog.events.FileSystemEventHandler):
    def take(self, path):
        if path.endswith(".gif"):
            pool.submit(one, os.path.relpath(path))

    def on_closed(self, event):
        self.take(event.src_path)

    def on_moved(self, event):
        self.take(event.dest_path)


observer = watchdog.observers.Observer()
observer.schedule(Scans(), ".")
observer.start()
for name in sorted(os.listdir(".")):
    if name.endswith(".gif") and not os.path.exists(os.path.splitext(name)[0] + ".txt"):
        pool.submit(one, name)
threading.Event().wait()
