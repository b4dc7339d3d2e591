# A thread that lives in the master.
import threading
import time

from seen import seen

bind = '127.0.0.1:0'
daemon = False


def when_ready(server):
    def beat():
        for number in range(5):
            time.sleep(0.02)
        seen('beat', threading.current_thread().name, len(server.WORKERS))

    threading.Thread(target=beat, name='beat', daemon=True).start()
    server.log.info('Server is ready. Spawning workers')
