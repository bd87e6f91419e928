# Sees one scan through with what Python brings: http.client, a connection for each
# thread.
import concurrent.futures, http.client, json, os, sys, threading, time, urllib.parse, uuid

api, formats = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2].split(",")
local = threading.local()


def call(method, path, body=None, kind=None):
    if not hasattr(local, "connection"):
        local.connection = http.client.HTTPConnection(api.netloc)
    headers = {"Authorization": "Bearer bench", "Accept": "application/json"}
    if kind:
        headers["Content-Type"] = kind
    local.connection.request(method, api.path + path, body, headers)
    answer = local.connection.getresponse()
    return answer.status, answer.read()


def one(scan):
    boundary = uuid.uuid4().hex
    with open(scan, "rb") as f:
        content = f.read()
    head = ('--%s\r\nContent-Disposition: form-data; name="action"\r\n\r\ntranscribe\r\n'
            '--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % (boundary, boundary, scan))
    body = head.encode() + content + ("\r\n--%s--\r\n" % boundary).encode()
    status, answer = call("POST", "/documents", body, "multipart/form-data; boundary=" + boundary)
    assert status == 201, status
    document = json.loads(answer)["id"]
    for format in formats:
        while True:
            status, answer = call("GET", "/documents/%s.%s" % (document, format))
            if status == 200:
                break
            assert status == 202, status
            time.sleep(1)
        with open(os.path.splitext(scan)[0] + "." + format, "wb") as f:
            f.write(answer)
    status, _ = call("DELETE", "/documents/" + document)
    assert status == 204, status


