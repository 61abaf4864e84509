"""The guest's side: sends back what comes in on some ports, or asks a program on the host for a checksum."""

import hashlib
import socket
import sys
import threading

HOST = 2


def send_back(connection):
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def serve(listener):
    while True:
        threading.Thread(target=send_back, args=listener.accept()[:1], daemon=True).start()


def listen(ports):
    listeners = []
    for port in ports:
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen()
        listeners.append(listener)
    print("listening", flush=True)
    for listener in listeners:
        threading.Thread(target=serve, args=(listener,)).start()


def ask(port, megabytes):
    data = bytes(i * 7 % 251 for i in range(1 << 20)) * megabytes
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as connection:
        connection.connect((HOST, port))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read().decode()
    print("same" if answer == hashlib.sha256(data).hexdigest() else f"other: {answer}")


if sys.argv[1] == "listen":
    listen([int(port) for port in sys.argv[2:]])
else:
    ask(int(sys.argv[2]), int(sys.argv[3]))
