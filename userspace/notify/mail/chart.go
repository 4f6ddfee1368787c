package mail

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"strconv"
	"time"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"weir/userspace/notify/digest"
)

// The chart's size and margins in pixels. Glyphs are 7 wide and 13 high.
const (
	chartWidth, chartHeight = 640, 240
	marginLeft, marginRight = 80, 20
	marginTop, marginBottom = 30, 45
	glyph                   = 7
)

// palette holds the chart's few colours, so that the picture is small.
func palette() color.Palette {
	return color.Palette{
		color.White, color.Black, color.RGBA{0xdd, 0xdd, 0xdd, 0xff}, color.RGBA{0xc0, 0x39, 0x2b, 0xff}, color.RGBA{0xf2, 0xc9, 0xc4, 0xff},
	}
}

// The colours by their place in the palette.
const (
	background = iota
	ink
	grid
	curve
	filled
)

// Chart draws bits per second over time as a PNG of 640 x 240 pixels; nil if there are fewer than two samples to draw.
func Chart(title string, rates []digest.Sample) ([]byte, error) {
	if len(rates) < 2 || !rates[len(rates)-1].Time.After(rates[0].Time) {
		return nil, nil
	}
	img := image.NewPaletted(image.Rect(0, 0, chartWidth, chartHeight), palette())
	plot := image.Rect(marginLeft, marginTop, chartWidth-marginRight, chartHeight-marginBottom)
	top := uint64(0)
	for _, s := range rates {
		top = max(top, s.Bytes)
	}
	// Float: eight times the bytes of a counter gone wrong is more than 64 bits hold.
	step := niceStep(float64(top) * 8 / 4)
	high := step * max(math.Ceil(float64(top)*8/step), 1)

	y := func(v float64) int { return plot.Max.Y - int(math.Round(v/high*float64(plot.Dy()))) }
	for v := 0.0; v <= high*1.001; v += step {
		horizontal(img, plot.Min.X, plot.Max.X, y(v), grid)
		label := bits(v)
		write(img, marginLeft-6-glyph*len(label), y(v)+4, label)
	}
	start, span := rates[0].Time, rates[len(rates)-1].Time.Sub(rates[0].Time)
	x := func(at time.Time) int {
		return plot.Min.X + int(math.Round(float64(at.Sub(start))/float64(span)*float64(plot.Dx())))
	}
	const ticks = 5
	for i := range ticks {
		at := start.Add(time.Duration(float64(span) * float64(i) / (ticks - 1)))
		vertical(img, x(at), plot.Min.Y, plot.Max.Y, grid)
		label := at.UTC().Format("15:04:05")
		left := min(x(at)-glyph*len(label)/2, chartWidth-glyph*len(label)-1)
		write(img, left, plot.Max.Y+16, label)
	}
	for i := 1; i < len(rates); i++ {
		line(img, image.Pt(x(rates[i-1].Time), y(float64(rates[i-1].Bytes)*8)), image.Pt(x(rates[i].Time), y(float64(rates[i].Bytes)*8)), plot.Max.Y)
	}
	horizontal(img, plot.Min.X, plot.Max.X, plot.Max.Y, ink)
	vertical(img, plot.Min.X, plot.Min.Y, plot.Max.Y, ink)
	write(img, marginLeft, marginTop-12, clip(title, (chartWidth-marginLeft)/glyph))
	write(img, 4, chartHeight-4, "bit/s, time in UTC on "+start.UTC().Format("2006-01-02"))

	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	if err := e.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("draw chart: %w", err)
	}
	return b.Bytes(), nil
}

// niceStep is the next of 1, 2 and 5 times a power of ten.
func niceStep(v float64) float64 {
	if v <= 1 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= v*0.999 {
			return n * power
		}
	}
	return 10 * power
}

// bits writes an axis' value: "2.5G".
func bits(v float64) string {
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	i := 0
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + units[i]
}

func clip(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-3]) + "..."
}

func horizontal(img *image.Paletted, from, to, y int, c uint8) {
	for x := from; x <= to; x++ {
		img.SetColorIndex(x, y, c)
	}
}

func vertical(img *image.Paletted, x, from, to int, c uint8) {
	for y := from; y <= to; y++ {
		img.SetColorIndex(x, y, c)
	}
}

// line draws the curve from a to b, three pixels thick, and fills what is below it.
func line(img *image.Paletted, a, b image.Point, floor int) {
	steps := max(abs(b.X-a.X), abs(b.Y-a.Y), 1)
	for i := range steps + 1 {
		x, y := a.X+(b.X-a.X)*i/steps, a.Y+(b.Y-a.Y)*i/steps
		for below := y + 2; below < floor; below++ {
			if at := img.ColorIndexAt(x, below); at == background || at == grid {
				img.SetColorIndex(x, below, filled)
			}
		}
		for d := -1; d <= 1; d++ {
			img.SetColorIndex(x, y+d, curve)
		}
	}
}

func abs(v int) int { return max(v, -v) }

// write puts a text's first glyph with its base line at x, y.
func write(img draw.Image, x, y int, text string) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(color.Black), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
	d.DrawString(text)
}
