import java.lang.reflect.Method;

/**
 * API that the two client lines do not have in common, by reflection: classes that moved to another package, and calls that
 * only 5.x has.
 */
final class Newer {
    private Newer() {
    }

    /** Calls {@code target.name(arguments…)}. The method is found by its name and the number of its arguments. */
    static Object call(Object target, String name, Object... arguments) throws Exception {
        for (Method method : target.getClass().getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == arguments.length) {
                return method.invoke(target, arguments);
            }
        }
        throw new UnsupportedOperationException("this client has no " + name);
    }

    /** The same with one constant of the enumeration that the method takes: its package differs. */
    static void setConstant(Object target, String name, String constant) throws Exception {
        for (Method method : target.getClass().getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == 1) {
                for (Object value : method.getParameterTypes()[0].getEnumConstants()) {
                    if (value.toString().equals(constant) || ((Enum<?>) value).name().equals(constant)) {
                        method.invoke(target, value);
                        return;
                    }
                }
            }
        }
        throw new UnsupportedOperationException("this client has no " + name + "(" + constant + ")");
    }
}
