package kafkatest

import "syscall"

// withParent has the server end when the process that started it is killed: a test that is interrupted leaves nothing behind.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
