// Package samples holds recordings to try the product with; README.md says what each shows. They are simulated.
package samples

//go:generate go run ./generate .
