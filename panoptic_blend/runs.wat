;; Run lengths of maps whose values are of 32 bits, and the pixels that the runs of two maps share.
;; webassembly.py says how arguments are passed.
(module
  (memory (export "memory") 1)

  ;; Numbers: height and width, both above 0, in pixels. Input: the map. Output: for each run the number of its first
  ;; pixel and its value; every row begins one.
  (func (export "encode")
    (local $height i32) (local $row_size i32) (local $map i32) (local $run i32)
    (local $at i32) (local $last i32)  ;; the pixel before those that are looked at, and the last one of the row
    (local $bits i32) (local $pixel i32)
    (local.set $run (i32.load (i32.const 0)))
    (local.set $height (i32.load (i32.const 4)))
    (local.set $row_size (i32.shl (i32.load (i32.const 8)) (i32.const 2)))
    (local.set $map (i32.load (i32.const 12)))
    (local.set $at (local.get $map))
    (loop $rows
      (local.set $last (i32.add (local.get $at) (i32.sub (local.get $row_size) (i32.const 4))))
      (i32.store (local.get $run) (i32.shr_u (i32.sub (local.get $at) (local.get $map)) (i32.const 2)))
      (i32.store offset=4 (local.get $run) (i32.load (local.get $at)))
      (local.set $run (i32.add (local.get $run) (i32.const 8)))
      (block $row
        (loop $vectors
          (br_if $row (i32.ge_u (local.get $at) (local.get $last)))
          (if (v128.any_true (v128.or
              (v128.or
                (v128.xor (v128.load (local.get $at)) (v128.load offset=4 (local.get $at)))
                (v128.xor (v128.load offset=16 (local.get $at)) (v128.load offset=20 (local.get $at))))
              (v128.or
                (v128.xor (v128.load offset=32 (local.get $at)) (v128.load offset=36 (local.get $at)))
                (v128.xor (v128.load offset=48 (local.get $at)) (v128.load offset=52 (local.get $at))))))
            (then
              ;; a bit for each of the 16 pixels, which is 1 where it differs from the one before
              (local.set $bits (i32.xor (i32.const 0xffff) (i8x16.bitmask (i8x16.narrow_i16x8_s
                (i16x8.narrow_i32x4_s
                  (i32x4.eq (v128.load (local.get $at)) (v128.load offset=4 (local.get $at)))
                  (i32x4.eq (v128.load offset=16 (local.get $at)) (v128.load offset=20 (local.get $at))))
                (i16x8.narrow_i32x4_s
                  (i32x4.eq (v128.load offset=32 (local.get $at)) (v128.load offset=36 (local.get $at)))
                  (i32x4.eq (v128.load offset=48 (local.get $at)) (v128.load offset=52 (local.get $at))))))))
              (loop $runs
                (local.set $pixel (i32.add (local.get $at) (i32.shl (i32.ctz (local.get $bits)) (i32.const 2))))
                (br_if $row (i32.ge_u (local.get $pixel) (local.get $last)))
                (local.set $pixel (i32.add (local.get $pixel) (i32.const 4)))
                (i32.store (local.get $run) (i32.shr_u (i32.sub (local.get $pixel) (local.get $map)) (i32.const 2)))
                (i32.store offset=4 (local.get $run) (i32.load (local.get $pixel)))
                (local.set $run (i32.add (local.get $run) (i32.const 8)))
                (br_if $runs
                  (local.tee $bits (i32.and (local.get $bits) (i32.sub (local.get $bits) (i32.const 1))))))))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br $vectors)))
      (local.set $at (i32.add (local.get $last) (i32.const 4)))
      (br_if $rows (local.tee $height (i32.sub (local.get $height) (i32.const 1)))))
    (i32.store (i32.const 0) (local.get $run)))

  ;; Numbers: pixels of a map, above 0, and the binary logarithm of the number of places in a hash table, which is at
  ;; least twice the number of runs. Inputs: starts and values of the runs of one map, starts and values of another;
  ;; the starts end with the number of pixels. Output: for each pair of values that share pixels both, the number of
  ;; these pixels, and 0; the hash table is behind what is reserved for them.
  (func (export "shared")
    (local $pixels i32) (local $bits i64) (local $table i32)
    (local $start i32) (local $value i32) (local $other_start i32) (local $other_value i32)
    (local $at i32) (local $next i32) (local $other_next i32) (local $stop i32)
    (local $key i64) (local $place i32) (local $mask i32) (local $entry i32) (local $first i32) (local $end i32)
    (local.set $first (i32.load (i32.const 0)))
    (local.set $end (local.get $first))
    (local.set $pixels (i32.load (i32.const 4)))
    (local.set $bits (i64.extend_i32_u (i32.load (i32.const 8))))
    (local.set $start (i32.load (i32.const 12)))
    (local.set $value (i32.load (i32.const 16)))
    (local.set $other_start (i32.load (i32.const 20)))
    (local.set $other_value (i32.load (i32.const 24)))
    (local.set $mask (i32.sub (i32.shl (i32.const 1) (i32.load (i32.const 8))) (i32.const 1)))
    ;; at most half of the places are taken, by entries of 16 bytes
    (local.set $table (i32.add (local.get $first) (i32.shl (i32.add (local.get $mask) (i32.const 1)) (i32.const 3))))
    (memory.fill (local.get $table) (i32.const 0) (i32.shl (i32.add (local.get $mask) (i32.const 1)) (i32.const 2)))
    (local.set $next (i32.load offset=4 (local.get $start)))
    (local.set $other_next (i32.load offset=4 (local.get $other_start)))
    (loop $parts
      (local.set $key (i64.or
        (i64.load32_u (local.get $value))
        (i64.shl (i64.load32_u (local.get $other_value)) (i64.const 32))))
      (local.set $stop (select (local.get $next) (local.get $other_next)
        (i32.lt_u (local.get $next) (local.get $other_next))))
      ;; multiplicative hashing by 2^64 over the golden ratio, and linear probing
      (local.set $place (i32.wrap_i64 (i64.shr_u
        (i64.mul (local.get $key) (i64.const 0x9e3779b97f4a7c15)) (i64.sub (i64.const 64) (local.get $bits)))))
      (block $found
        (loop $probe
          (local.set $entry
            (i32.load (i32.add (local.get $table) (i32.shl (local.get $place) (i32.const 2)))))
          (if (i32.eqz (local.get $entry)) (then
            (local.set $entry (local.get $end))
            (local.set $end (i32.add (local.get $end) (i32.const 16)))
            (i64.store (local.get $entry) (local.get $key))
            (i64.store offset=8 (local.get $entry) (i64.const 0))
            (i32.store (i32.add (local.get $table) (i32.shl (local.get $place) (i32.const 2))) (local.get $entry))
            (br $found)))
          (br_if $found (i64.eq (i64.load (local.get $entry)) (local.get $key)))
          (local.set $place (i32.and (i32.add (local.get $place) (i32.const 1)) (local.get $mask)))
          (br $probe)))
      (i32.store offset=8 (local.get $entry)
        (i32.add (i32.load offset=8 (local.get $entry)) (i32.sub (local.get $stop) (local.get $at))))
      (local.set $at (local.get $stop))
      (if (i32.eq (local.get $next) (local.get $stop)) (then
        (local.set $start (i32.add (local.get $start) (i32.const 4)))
        (local.set $value (i32.add (local.get $value) (i32.const 4)))
        (local.set $next (i32.load offset=4 (local.get $start)))))
      (if (i32.eq (local.get $other_next) (local.get $stop)) (then
        (local.set $other_start (i32.add (local.get $other_start) (i32.const 4)))
        (local.set $other_value (i32.add (local.get $other_value) (i32.const 4)))
        (local.set $other_next (i32.load offset=4 (local.get $other_start)))))
      (br_if $parts (i32.lt_u (local.get $at) (local.get $pixels))))
    (i32.store (i32.const 0) (local.get $end))))
