package dashboard

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stintq/stint"
)

// fillAll gives each field a value that is not zero, and another one each.
func fillAll(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(*n, 0)))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fillAll(v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillAll(v.Index(0), n)
	case reflect.Map:
		one := reflect.New(v.Type().Elem()).Elem()
		fillAll(one, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name"), one)
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n))
	case reflect.Uint8:
		v.SetUint(1) // the first of the words
	}
}

// emptyFields are the paths of what is zero, and of numbers that come twice.
func emptyFields(v reflect.Value, at string, seen map[any]string) (list []string) {
	switch {
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			list = append(list, emptyFields(v.Field(i), at+"."+v.Type().Field(i).Name, seen)...)
		}
	case v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0:
		list = append(list, at)
	case v.Kind() == reflect.Slice:
		list = append(list, emptyFields(v.Index(0), at, seen)...)
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			list = append(list, emptyFields(v.MapIndex(key), at, seen)...)
		}
	case v.Kind() == reflect.Int || v.Kind() == reflect.Uint64 || v.Kind() == reflect.String:
		if before, ok := seen[v.Interface()]; ok {
			list = append(list, at+" is "+before)
		}
		seen[v.Interface()] = at
	}
	return list
}

// TestNothingIsLeftOut fills what the queue tells, and looks for what does not
// come through, or comes at another's place as well.
func TestNothingIsLeftOut(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		from   any
		to     func(from any) any
		absent []string // that other functions fill, or that are words
	}{
		{&stint.QueueInfo{}, func(v any) any { return wireQueue(*v.(*stint.QueueInfo)) }, nil},
		{&stint.KindInfo{}, func(v any) any { return wireKind(*v.(*stint.KindInfo)) }, nil},
		{&stint.Counts{}, func(v any) any { return wireCounts(*v.(*stint.Counts)) }, nil},
		{&stint.ScheduleInfo{}, func(v any) any { return wireSchedule(*v.(*stint.ScheduleInfo)) }, []string{".Upcoming"}},
		{&stint.BatchInfo{}, func(v any) any { return wireBatch(*v.(*stint.BatchInfo)) }, nil},
		{&stint.Action{}, func(v any) any { return wireAction(*v.(*stint.Action)) }, nil},
		{&stint.Start{}, func(v any) any { return wireStart(*v.(*stint.Start)) }, nil},
		{&stint.Event{}, func(v any) any { return wireEvent(*v.(*stint.Event)) }, []string{".To is .From"}},
	} {
		n := int64(0)
		fillAll(reflect.ValueOf(one.from).Elem(), &n)
		empty := emptyFields(reflect.ValueOf(one.to(one.from)), "", map[any]string{})
		empty = slices.DeleteFunc(empty, func(at string) bool { return slices.Contains(one.absent, at) })
		require.Empty(t, empty, "of %T", one.from)
	}
}

// A name that is misspelt must not widen what is done.
func TestActionsRefuseUnknownNames(t *testing.T) {
	t.Parallel()
	q := routesQueue(t)
	id, err := q.Enqueue(t.Context(), routesJob{}, stint.In(time.Hour))
	require.NoError(t, err)
	h := testHandler(q, Admin)
	for path, body := range map[string]string{
		"/api/v1/queues/workers":                    `{"quue":"mail","n":1}`,
		"/api/v1/bulk":                              `{"verb":"delete","q":"kind:routes/job","sate":"dead"}`,
		"/api/v1/enqueue":                           `{"kind":"x","run_at":"2030-01-01T00:00:00Z"}`,
		"/api/v1/jobs/" + id.String() + "/kill":     `{"Reason":"why"}`,
		"/api/v1/bulk?verb=delete&scope=all&limit=": `{}`,
	} {
		response, text := postJSON(t, h, path, body)
		require.Equal(t, http.StatusBadRequest, response.StatusCode, "%s: %s", path, text)
		require.Contains(t, text, "nothing was done")
	}
	require.Equal(t, 1, q.Counts().Scheduled)
}
