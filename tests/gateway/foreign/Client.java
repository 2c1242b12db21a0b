import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.CertificateFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/**
 * A client with Java's own TLS: two connections to a gateway, the second with the session of the first. Java updates its keys
 * after so many bytes as a property says, and asks for new keys of the gateway.
 *
 * Client.java PORT CERTIFICATE HOST VERSION prints a line for each connection: version, answers
 */
public class Client {
    static final int PATIENCE_MS = 20_000;
    static final int REQUESTS = 60;
    /** A third of this goes into each request, so that a KeyUpdate follows on every third or so. */
    static final String KEY_LIMIT = "2^14";
    static final int PADDING_BYTES = 5_000;

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        String host = arguments[2], version = arguments[3];
        Security.setProperty("jdk.tls.keyLimits",
            "AES/GCM/NoPadding KeyUpdate " + KEY_LIMIT + ", ChaCha20-Poly1305 KeyUpdate " + KEY_LIMIT);
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(arguments[1])) {
            store.setCertificateEntry("gateway", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        for (int connection = 0; connection < 2; connection++) {
            try (SSLSocket socket = connect(context.getSocketFactory(), host, port, version)) {
                String request = "GET /nowhere HTTP/1.1\r\nHost: " + host + "\r\nX-Padding: " + "x".repeat(PADDING_BYTES) + "\r\n\r\n";
                int answers = 0;
                for (int number = 0; number < REQUESTS; number++) {
                    OutputStream out = socket.getOutputStream();
                    out.write(request.getBytes(StandardCharsets.US_ASCII));
                    out.flush();
                    answers += answer(socket.getInputStream()).startsWith("HTTP/1.1 404 ") ? 1 : 0;
                }
                System.out.println(version + " " + answers);
            }
        }
    }

    static SSLSocket connect(SSLSocketFactory factory, String host, int port, String version) throws Exception {
        java.net.Socket plain = new java.net.Socket(InetAddress.getLoopbackAddress(), port);
        plain.setSoTimeout(PATIENCE_MS);
        SSLSocket socket = (SSLSocket) factory.createSocket(plain, host, port, true);
        socket.setEnabledProtocols(new String[] {"TLSv" + version});
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        parameters.setApplicationProtocols(new String[] {"h2", "http/1.1"});
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        if (!socket.getApplicationProtocol().equals("http/1.1")) {
            throw new IllegalStateException("agreed on " + socket.getApplicationProtocol());
        }
        return socket;
    }

    /** One answer with a Content-Length. */
    static String answer(InputStream in) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        while (!bytes.toString(StandardCharsets.US_ASCII).endsWith("\r\n\r\n")) {
            int next = in.read();
            if (next < 0) {
                throw new IllegalStateException("the end instead of an answer");
            }
            bytes.write(next);
        }
        String head = bytes.toString(StandardCharsets.US_ASCII);
        String length = head.toLowerCase().split("content-length: ")[1].split("\r\n")[0];
        in.readNBytes(Integer.parseInt(length));
        return head;
    }
}
