//go:build !linux

package kafkatest

import "syscall"

func withParent() *syscall.SysProcAttr { return nil }
