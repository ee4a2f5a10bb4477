import java.util.Objects;
import javassist.CannotCompileException;
import javassist.ClassPool;
import javassist.CtClass;
import javassist.expr.ExprEditor;
import javassist.expr.MethodCall;

/**
 * Writes the class of Beam that starts gRPC servers anew, so that they listen on loopback only:
 * {@code java -cp 'JARS/*' OnLoopback.java FOLDER}. As published it takes the port of the address
 * that it is given and listens on every interface, whatever {@code --job-host} says. The folder goes
 * before the jars in the class path.
 */
class OnLoopback {
  private static final String FACTORY =
      "org.apache.beam.sdk.fn.server.ServerFactory$InetSocketAddressServerFactory";
  private static int replaced = 0;

  public static void main(String[] arguments) throws Exception {
    CtClass factory = ClassPool.getDefault().get(FACTORY);
    factory.instrument(
        new ExprEditor() {
          @Override
          public void edit(MethodCall call) throws CannotCompileException {
            if (Objects.equals(call.getMethodName(), "forPort")) {
              String builder = call.getClassName();
              call.replace(
                  "$_ = " + builder + ".forAddress(new java.net.InetSocketAddress("
                      + "java.net.InetAddress.getLoopbackAddress(), $1));");
              replaced++;
            }
          }
        });
    if (replaced != 1) {
      throw new IllegalStateException(
          FACTORY + " calls forPort " + replaced + " times, not once: look where it listens now");
    }
    factory.writeFile(arguments[0]);
  }
}
