import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;

/** Talk HOST - each line of standard input to the server that echoes, and its answer to standard output. */
public class Talk {
    public static void main(String[] args) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
        try (Socket peer = new Socket(args[0], 7)) {
            BufferedReader answers = new BufferedReader(new InputStreamReader(peer.getInputStream()));
            for (String line; (line = questions.readLine()) != null;) {
                peer.getOutputStream().write((line + "\n").getBytes());
                System.out.println(answers.readLine());
            }
        }
    }
}
