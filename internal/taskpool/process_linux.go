package taskpool

import "syscall"

// diesWithUs makes the kernel end a child when the program does, however that ends.
func diesWithUs(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
