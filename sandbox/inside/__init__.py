"""What runs inside the container: a supervisor (PID 1, standard library only) and the kernel it starts."""
