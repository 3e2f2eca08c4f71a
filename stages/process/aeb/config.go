package aeb

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/milepost-dev/milepost/pipeline"
)

// Config is the stage's `with:` block; its defaults are those of AEB.md, section 2. The `params` of a recording's binding
// override it.
type Config struct {
	TTCWarn    time.Duration `yaml:"ttc_warn" doc:"Extended time to collision at which the driver is warned."`
	TTCBrake   time.Duration `yaml:"ttc_brake" doc:"Extended time to collision for partial braking."`
	TTCFull    time.Duration `yaml:"ttc_full" doc:"Extended time to collision for full braking."`
	TTCUrgent  time.Duration `yaml:"ttc_urgent" doc:"Extended time to collision below which braking does not wait for the warning."`
	DecelWarn  float64       `yaml:"decel_warn" doc:"Required deceleration in m/s² at which the driver is warned."`
	DecelBrake float64       `yaml:"decel_brake" doc:"Required deceleration in m/s² for partial braking, together with ttc_brake."`
	DecelFull  float64       `yaml:"decel_full" doc:"Required deceleration in m/s² for full braking, together with ttc_full."`
	Decel      float64       `yaml:"decel" doc:"Required deceleration in m/s² that alone is enough for full braking."`
	ArmWarn    int           `yaml:"arm_warn" doc:"Ticks of 50 ms in a row that the condition of a warning must hold."`
	ArmBrake   int           `yaml:"arm_brake" doc:"Ticks in a row that the condition of partial braking must hold."`
	ArmFull    int           `yaml:"arm_full" doc:"Ticks in a row that the condition of full braking must hold."`
	WarnLead   time.Duration `yaml:"warn_lead" doc:"Least time between the warning and braking."`

	ReleaseTTC    time.Duration `yaml:"release_ttc" doc:"Added to the limits of a stage before it is left."`
	ReleaseFactor float64       `yaml:"release_factor" doc:"Part of the required deceleration of a stage that keeps it."`
	ReleaseTicks  int           `yaml:"release_ticks" doc:"Ticks without reason after which a stage is left."`
	SpeedEnter    float64       `yaml:"v_enter" doc:"Ego speed in m/s below which no stage is entered."`
	SpeedExit     float64       `yaml:"v_exit" doc:"Ego speed in m/s below which every stage is left."`

	EgoTimeout   time.Duration `yaml:"ego_timeout" doc:"Age of the ego speed at which the function gives up."`
	TrackTimeout time.Duration `yaml:"track_timeout" doc:"Age of a track at which it is no target."`
	YawTimeout   time.Duration `yaml:"yaw_timeout" doc:"Age of the yaw rate at which the path is straight."`

	ConfirmN         int     `yaml:"confirm_n" doc:"Samples of an object before it may be a target."`
	XMin             float64 `yaml:"x_min" doc:"Nearest target in m."`
	XMax             float64 `yaml:"x_max" doc:"Farthest target in m."`
	XMaxStatic       float64 `yaml:"x_max_static" doc:"Farthest target in m that never moved."`
	HalfWidth        float64 `yaml:"half_width" doc:"Half the width of the path in m."`
	HalfWidthCurrent float64 `yaml:"half_width_current" doc:"The same for the target that is followed."`
	HalfWidthStatic  float64 `yaml:"half_width_static" doc:"The same for a target that never moved."`
	MovingSpeed      float64 `yaml:"moving_speed" doc:"Speed of an object in m/s that shows that it moves."`
	OncomingSpeed    float64 `yaml:"oncoming_speed" doc:"Speed of an object in m/s below which it is oncoming traffic."`
	SwitchMargin     float64 `yaml:"switch_margin" doc:"How much nearer in m another target must be."`

	KappaMinSpeed float64       `yaml:"kappa_min_speed" doc:"Ego speed in m/s below which the path is straight."`
	TauKappa      time.Duration `yaml:"tau_kappa" doc:"Time constant of the curvature."`
	TauAccel      time.Duration `yaml:"tau_accel" doc:"Time constant of the accelerations."`
	CMin          float64       `yaml:"c_min" doc:"Closing speed in m/s below which there is no time to collision."`
	ARelMin       float64       `yaml:"a_rel_min" doc:"Relative acceleration in m/s² below which it is left out."`
	AClamp        float64       `yaml:"a_clamp" doc:"Largest acceleration in m/s² that is believed."`
	Standoff      float64       `yaml:"standoff" doc:"Gap in m that is to remain."`
	XEffMin       float64       `yaml:"x_eff_min" doc:"Smallest gap in m that is computed with."`
	LeadBrakeMin  float64       `yaml:"lead_brake_min" doc:"Deceleration of the target in m/s² from which it counts as braking."`

	RSSRho      time.Duration `yaml:"rss_rho" doc:"Response time of the RSS distance."`
	RSSBEgo     float64       `yaml:"rss_b_ego" doc:"Deceleration of the ego vehicle in m/s² in the RSS distance."`
	RSSBObj     float64       `yaml:"rss_b_obj" doc:"Deceleration of the target in m/s² in the RSS distance."`
	RSSMargin   float64       `yaml:"rss_margin" doc:"Gap in m that the RSS distance adds."`
	THWMinSpeed float64       `yaml:"thw_min_speed" doc:"Ego speed in m/s below which there is no time headway."`
	DriverDecel float64       `yaml:"driver_decel" doc:"Acceleration in m/s² at or below which the driver brakes."`
	HardDecel   float64       `yaml:"hard_decel" doc:"Acceleration in m/s² at or below which braking is hard."`
}

// defaultConfig is Default in the units of the configuration.
func defaultConfig() Config {
	p := Default()
	return Config{
		TTCWarn: duration(p.ETTC[1]), TTCBrake: duration(p.ETTC[2]), TTCFull: duration(p.ETTC[3]), TTCUrgent: duration(p.ETTCUrgent),
		DecelWarn: p.AReq[1], DecelBrake: p.AReq[2], DecelFull: p.AReq[3], Decel: p.AReqFull,
		ArmWarn: p.NArm[1], ArmBrake: p.NArm[2], ArmFull: p.NArm[3], WarnLead: duration(p.WarnLead / 1e3),
		ReleaseTTC: duration(p.ReleaseETTCAdd), ReleaseFactor: p.ReleaseAReqFactor, ReleaseTicks: p.ReleaseTicks,
		SpeedEnter: p.VEnter, SpeedExit: p.VExit,
		EgoTimeout: duration(p.EgoTimeout / 1e3), TrackTimeout: duration(p.TrackTimeout / 1e3), YawTimeout: duration(p.YawTimeout / 1e3),
		ConfirmN: p.ConfirmN, XMin: p.XMin, XMax: p.XMax, XMaxStatic: p.XMaxStatic, HalfWidth: p.HalfWidth,
		HalfWidthCurrent: p.HalfWidthCurrent, HalfWidthStatic: p.HalfWidthStatic, MovingSpeed: p.MovingSpeed,
		OncomingSpeed: p.OncomingSpeed, SwitchMargin: p.SwitchMargin, KappaMinSpeed: p.KappaMinSpeed,
		TauKappa: duration(p.TauKappa), TauAccel: duration(p.TauAccel), CMin: p.CMin, ARelMin: p.ARelMin, AClamp: p.AClamp,
		Standoff: p.Standoff, XEffMin: p.XEffMin, LeadBrakeMin: p.LeadBrakeMin,
		RSSRho: duration(p.RSSRho), RSSBEgo: p.RSSBEgo, RSSBObj: p.RSSBObj, RSSMargin: p.RSSMargin, THWMinSpeed: p.THWMinSpeed,
		DriverDecel: p.DriverDecel, HardDecel: p.HardDecel,
	}
}

// params is the configuration in the units of the function.
func (c Config) params() Params {
	return Params{
		EgoTimeout: seconds(c.EgoTimeout) * 1e3, TrackTimeout: seconds(c.TrackTimeout) * 1e3, YawTimeout: seconds(c.YawTimeout) * 1e3,
		ConfirmN: c.ConfirmN, XMin: c.XMin, XMax: c.XMax, XMaxStatic: c.XMaxStatic, HalfWidth: c.HalfWidth,
		HalfWidthCurrent: c.HalfWidthCurrent, HalfWidthStatic: c.HalfWidthStatic, MovingSpeed: c.MovingSpeed,
		OncomingSpeed: c.OncomingSpeed, SwitchMargin: c.SwitchMargin, KappaMinSpeed: c.KappaMinSpeed,
		TauKappa: seconds(c.TauKappa), TauAccel: seconds(c.TauAccel), CMin: c.CMin, ARelMin: c.ARelMin, AClamp: c.AClamp,
		Standoff: c.Standoff, XEffMin: c.XEffMin, LeadBrakeMin: c.LeadBrakeMin, VEnter: c.SpeedEnter, VExit: c.SpeedExit,
		ETTC: Levels{0, seconds(c.TTCWarn), seconds(c.TTCBrake), seconds(c.TTCFull)},
		AReq: Levels{0, c.DecelWarn, c.DecelBrake, c.DecelFull}, AReqFull: c.Decel, NArm: Counts{0, c.ArmWarn, c.ArmBrake, c.ArmFull},
		WarnLead: seconds(c.WarnLead) * 1e3, ETTCUrgent: seconds(c.TTCUrgent),
		ReleaseETTCAdd: seconds(c.ReleaseTTC), ReleaseAReqFactor: c.ReleaseFactor, ReleaseTicks: c.ReleaseTicks,
		RSSRho: seconds(c.RSSRho), RSSBEgo: c.RSSBEgo, RSSBObj: c.RSSBObj, RSSMargin: c.RSSMargin, THWMinSpeed: c.THWMinSpeed,
		DriverDecel: c.DriverDecel, HardDecel: c.HardDecel,
	}
}

// Validate refuses numbers that the formulas cannot take.
func (c Config) Validate() error {
	var errs []error
	for _, r := range c.params().refused() {
		errs = append(errs, pipeline.FieldErrorf(c.field(r.key), "must be %s", r.want))
	}
	return errors.Join(errs...)
}

// RefusedParams says what of an item's params the function cannot take.
func (c Config) RefusedParams(params map[string]json.RawMessage) []error {
	_, errs := c.params().overridden(params)
	return errs
}

// Inputs are the streams without which there is nothing to decide; yaw rate and brake are optional (AEB.md, section 1).
func (c Config) Inputs() []string { return []string{"ego_speed", "tracks"} }

// field is the key of the configuration for that of a parameter; of a list, the first that can be to blame.
func (c Config) field(key string) string {
	if key == "n_arm" {
		names := []string{"arm_warn", "arm_brake", "arm_full"}
		return names[slices.IndexFunc([]int{c.ArmWarn, c.ArmBrake, c.ArmFull}, func(n int) bool { return n < 1 })]
	}
	if list, ok := map[string]string{"areq": "decel_warn", "areq_full": "decel", "ettc": "ttc_warn"}[key]; ok {
		return list
	}
	return strings.TrimSuffix(key, "_ms")
}

func duration(s float64) time.Duration { return time.Duration(s*1e9 + 0.5) }

// seconds divides once: Duration.Seconds adds two parts and may be off by a bit, which a limit must not be.
func seconds(d time.Duration) float64 { return float64(d) / 1e9 }
