// Command kafka runs one Apache Kafka broker on loopback until it is told to stop, and prints its address: `make kafka`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/milepost-dev/milepost/transport/kafka/kafkatest"
)

func main() {
	dir := flag.String("dir", "", "folder of its data, kept; without one a temporary folder is made and removed")
	jars := flag.Bool("jars", false, "print the folder of the broker's jars, resolved if they are not there, and nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *jars); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, jars bool) error {
	if jars {
		folder, err := kafkatest.Jars(ctx)
		fmt.Println(folder)
		return err
	}
	b, err := kafkatest.Start(ctx, kafkatest.Options{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Printf("kafka://%s\n", b.Address)
	<-ctx.Done()
	return b.Stop()
}
