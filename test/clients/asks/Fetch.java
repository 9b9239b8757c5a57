import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritableByteChannel;

/** Fetch WAY HOST PORT LINE - a line to a server, and all of its answer to standard output. Ways: socket, nio. */
public class Fetch {
    public static void main(String[] args) throws Exception {
        InetSocketAddress server = new InetSocketAddress(args[1], Integer.parseInt(args[2]));
        byte[] line = (args[3] + "\n").getBytes();
        if (args[0].equals("socket"))
            bySocket(server, line);
        else
            byChannel(server, line);
        System.out.flush();
    }

    private static void bySocket(InetSocketAddress server, byte[] line) throws Exception {
        try (Socket socket = new Socket()) {
            socket.connect(server);
            socket.getOutputStream().write(line);
            InputStream in = socket.getInputStream();
            in.transferTo(System.out);
        }
    }

    private static void byChannel(InetSocketAddress server, byte[] line) throws Exception {
        ByteBuffer bytes = ByteBuffer.allocateDirect(65536);
        WritableByteChannel out = Channels.newChannel(System.out);
        try (Selector selector = Selector.open(); SocketChannel channel = SocketChannel.open()) {
            channel.configureBlocking(false);
            channel.register(selector, channel.connect(server) ? SelectionKey.OP_READ : SelectionKey.OP_CONNECT);
            for (;;) {
                selector.select();
                SelectionKey key = selector.selectedKeys().iterator().next();
                selector.selectedKeys().clear();
                if (key.isConnectable() && channel.finishConnect()) {
                    channel.write(ByteBuffer.wrap(line));
                    key.interestOps(SelectionKey.OP_READ);
                } else if (key.isReadable()) {
                    bytes.clear();
                    if (channel.read(bytes) < 0)
                        return;
                    bytes.flip();
                    while (bytes.hasRemaining())
                        out.write(bytes);
                }
            }
        }
    }
}
