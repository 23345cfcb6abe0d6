;; Undoes the filters of the rows of an 8-bit RGB PNG, and stores the result as runs of equal pixels
;; (PNG, third edition, section 9).
;;
;; A pixel is an i32 of the bytes R, G, B, 0, which is the segment id R + 256 G + 256^2 B. `a` is the pixel at the left
;; of the present one, `b` the one above, `c` the one above at the left; they are 0 outside of the picture.
;;
;; In the maps of segments nearly all filtered bytes are 0. A pixel is computed only where its filtered bytes are not 0,
;; where a run begins above it, and at the left border; all others continue the run at their left.
(module
  (memory (export "memory") 1)

  ;; The sum of two pixels: of each byte, modulo 256.
  (func $sum (param $x i32) (param $y i32) (result i32)
    (i32.xor
      (i32.add (i32.and (local.get $x) (i32.const 0x7f7f7f)) (i32.and (local.get $y) (i32.const 0x7f7f7f)))
      (i32.and (i32.xor (local.get $x) (local.get $y)) (i32.const 0x808080))))

  ;; The mean of two pixels: of each byte, rounded down.
  (func $mean (param $x i32) (param $y i32) (result i32)
    (i32.add
      (i32.and (local.get $x) (local.get $y))
      (i32.shr_u (i32.and (i32.xor (local.get $x) (local.get $y)) (i32.const 0xfefefe)) (i32.const 1))))

  ;; The difference of the bytes of two pixels that begin at a bit.
  (func $difference (param $x i32) (param $y i32) (param $bit i32) (result i32)
    (i32.sub
      (i32.and (i32.shr_u (local.get $x) (local.get $bit)) (i32.const 255))
      (i32.and (i32.shr_u (local.get $y) (local.get $bit)) (i32.const 255))))

  (func $absolute (param $x i32) (result i32)
    (select (local.get $x) (i32.sub (i32.const 0) (local.get $x)) (i32.ge_s (local.get $x) (i32.const 0))))

  ;; Paeth's predictor (9.4): of each byte, that of `a`, `b` or `c` which is nearest to a + b - c.
  (func $paeth (param $a i32) (param $b i32) (param $c i32) (result i32)
    (local $bit i32) (local $to_a i32) (local $to_b i32) (local $to_c i32) (local $nearest i32) (local $pixel i32)
    ;; the usual cases, in which the choice is the same for all bytes
    (if (i32.eq (local.get $a) (local.get $c)) (then (return (local.get $b))))
    (if (i32.eq (local.get $b) (local.get $c)) (then (return (local.get $a))))
    (loop $bytes
      (local.set $to_a (call $difference (local.get $b) (local.get $c) (local.get $bit)))
      (local.set $to_b (call $difference (local.get $a) (local.get $c) (local.get $bit)))
      (local.set $to_c (call $absolute (i32.add (local.get $to_a) (local.get $to_b))))
      (local.set $to_a (call $absolute (local.get $to_a)))
      (local.set $to_b (call $absolute (local.get $to_b)))
      (local.set $nearest
        (select
          (local.get $a)
          (select (local.get $b) (local.get $c) (i32.le_u (local.get $to_b) (local.get $to_c)))
          (i32.and (i32.le_u (local.get $to_a) (local.get $to_b)) (i32.le_u (local.get $to_a) (local.get $to_c)))))
      (local.set $pixel
        (i32.or (local.get $pixel) (i32.and (local.get $nearest) (i32.shl (i32.const 255) (local.get $bit)))))
      (br_if $bytes (i32.lt_u (local.tee $bit (i32.add (local.get $bit) (i32.const 8))) (i32.const 24))))
    (local.get $pixel))

  ;; The first column from `x` to `width` in which the filtered bytes of the row at `row` are not all 0; else `width`.
  (func $next_changed (param $row i32) (param $x i32) (param $width i32) (result i32)
    (local $at i32) (local $end i32) (local $bytes v128)
    (local.set $at (i32.add (local.get $row) (i32.mul (local.get $x) (i32.const 3))))
    (local.set $end (i32.add (local.get $row) (i32.mul (local.get $width) (i32.const 3))))
    (block $changed
      (loop $vectors
        (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (local.get $width))))
        (br_if $changed (v128.any_true (local.tee $bytes (v128.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br $vectors)))
    (local.set $at (i32.add (local.get $at)
      (i32.ctz (i8x16.bitmask (i8x16.ne (local.get $bytes) (v128.const i64x2 0 0))))))
    (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (local.get $width))))
    (i32.div_u (i32.sub (local.get $at) (local.get $row)) (i32.const 3)))

  ;; Numbers: width and height. Input: the rows, each a byte of filter type and `width` filtered pixels of 3 bytes.
  ;; Output: for each run the number of its first pixel in the picture, and that pixel; every row begins one. There is
  ;; none if a filter type is unknown. webassembly.py says how arguments are passed.
  (func (export "decode")
    (local $width i32) (local $height i32) (local $row i32) (local $type i32) (local $run i32)
    (local $above i32) (local $above_end i32)  ;; the next run of the row above, and the end of its runs
    (local $first i32)                         ;; the number of the row's first pixel in the picture
    (local $x i32)                             ;; the present column,
    (local $next i32) (local $changed i32)     ;; that of the next run above, and the next with bytes that are not 0
    (local $a i32) (local $b i32) (local $c i32) (local $pixel i32) (local $settled i32)
    (local.set $run (i32.load (i32.const 0)))
    (local.set $width (i32.load (i32.const 4)))
    (local.set $height (i32.load (i32.const 8)))
    (local.set $row (i32.load (i32.const 12)))
    (local.set $above (local.get $run))
    (i32.store (i32.const 0) (i32.const 0))
    (loop $rows
      (local.set $type (i32.load8_u (local.get $row)))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (if (i32.gt_u (local.get $type) (i32.const 4)) (then (return)))
      (local.set $above_end (local.get $run))
      (local.set $x (i32.const 0))
      (local.set $next (i32.const 0))
      (local.set $changed (i32.const 0))
      (local.set $a (i32.const 0))
      (local.set $b (i32.const 0))
      (loop $pixels
        (local.set $c (local.get $b))
        (if (i32.eq (local.get $x) (local.get $next)) (then
          (if (i32.lt_u (local.get $above) (local.get $above_end)) (then
            (local.set $b (i32.load offset=4 (local.get $above)))
            (local.set $above (i32.add (local.get $above) (i32.const 8)))))
          (local.set $next (local.get $width))
          (if (i32.lt_u (local.get $above) (local.get $above_end)) (then
            (local.set $next
              (i32.sub (i32.load (local.get $above)) (i32.sub (local.get $first) (local.get $width))))))))

        ;; where nothing is added and no run begins above, pixels repeat once they are `settled`; -1 stands for any
        (block $predicted (block $paeth (block $average (block $up (block $sub (block $none
          (br_table $none $sub $up $average $paeth (local.get $type)))
          (local.set $pixel (i32.const 0))
          (local.set $settled (i32.const 0))
          (br $predicted))
          (local.set $pixel (local.get $a))
          (local.set $settled (i32.const -1))
          (br $predicted))
          (local.set $pixel (local.get $b))
          (local.set $settled (local.get $b))
          (br $predicted))
          (local.set $pixel (call $mean (local.get $a) (local.get $b)))
          (local.set $settled (local.get $b))
          (br $predicted))
          (local.set $pixel (call $paeth (local.get $a) (local.get $b) (local.get $c)))
          (local.set $settled (i32.const -1)))
        (local.set $pixel (call $sum (local.get $pixel) (i32.and (i32.const 0xffffff)
          (i32.load (i32.add (local.get $row) (i32.mul (local.get $x) (i32.const 3)))))))

        (if (i32.or (i32.ne (local.get $pixel) (local.get $a)) (i32.eqz (local.get $x))) (then
          (i32.store (local.get $run) (i32.add (local.get $first) (local.get $x)))
          (i32.store offset=4 (local.get $run) (local.get $pixel))
          (local.set $run (i32.add (local.get $run) (i32.const 8)))))
        (local.set $a (local.get $pixel))
        (local.set $x (i32.add (local.get $x) (i32.const 1)))
        (if (i32.or (i32.eq (local.get $settled) (i32.const -1)) (i32.eq (local.get $settled) (local.get $a))) (then
          (if (i32.lt_u (local.get $changed) (local.get $x))
            (then (local.set $changed (call $next_changed (local.get $row) (local.get $x) (local.get $width)))))
          (local.set $x (select (local.get $changed) (local.get $next)
            (i32.lt_u (local.get $changed) (local.get $next))))))
        (br_if $pixels (i32.lt_u (local.get $x) (local.get $width))))
      (local.set $above (local.get $above_end))
      (local.set $first (i32.add (local.get $first) (local.get $width)))
      (local.set $row (i32.add (local.get $row) (i32.mul (local.get $width) (i32.const 3))))
      (br_if $rows (local.tee $height (i32.sub (local.get $height) (i32.const 1)))))
    (i32.store (i32.const 0) (local.get $run))))
