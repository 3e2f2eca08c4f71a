package dbc_test

import (
	"fmt"

	"github.com/milepost-dev/milepost/stages/reader/dbc"
)

// A frame of five bytes of a message that says eight: what is there is decoded.
func Example() {
	db, err := dbc.Load("gps.dbc", []byte(`
BO_ 7 GNSS_SPEED: 8 GPS
 SG_ SpeedValid : 0|1@1+ (1,0) [0|1] "" CAR
 SG_ Speed : 1|20@1+ (0.001,0) [0|1048.575] "m/s" CAR
 SG_ Accuracy : 40|19@1+ (0.001,0) [0|524.287] "m/s" CAR
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	m, _ := db.Message(7, false)
	for _, s := range m.Signals {
		v, ok := s.Decode([]byte{0x73, 0x60, 0x00, 0x00, 0x00})
		fmt.Println(s.Name, v, s.Unit, ok)
	}
	_, err = m.Signal("Sped")
	fmt.Println(err)
	// Output:
	// SpeedValid 1  true
	// Speed 12.345 m/s true
	// Accuracy 0 m/s false
	// no signal "Sped" in GNSS_SPEED; close names: Speed
}
