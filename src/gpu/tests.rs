//! Every kernel, in every variant, is parsed and validated: no GPU is needed.

use super::wgsl::{self, Use};
use crate::dtype::Dtype;

/// The first error of a kernel's text, if there is one.
#[cfg(feature = "gpu")]
fn validate(source: &str) -> Result<(), String> {
    use wgpu::naga;
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let caps = naga::valid::Capabilities::SHADER_INT64 | naga::valid::Capabilities::FLOAT64;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), caps)
        .validate(&module)
        .map(drop)
        .map_err(|e| e.emit_to_string(source))
}

#[cfg(not(feature = "gpu"))]
fn validate(_source: &str) -> Result<(), String> {
    Ok(())
}

#[test]
fn sections_are_valid_in_every_variant() {
    let mut tried = 0;
    for s in wgsl::sections().values() {
        // All tensors take their first dtype but for one, which goes through all of its own.
        let first: Vec<Dtype> = s.slots.iter().map(|t| t.dtypes.first().copied().unwrap_or(Dtype::I32)).collect();
        let mut dtypes = vec![first.clone()];
        for (k, slot) in s.slots.iter().enumerate() {
            for d in slot.dtypes.iter().skip(1) {
                let mut other = first.clone();
                other[k] = *d;
                dtypes.push(other);
            }
        }
        let mut choices: Vec<Vec<(&str, &str)>> = vec![vec![]];
        for (name, texts) in &s.variants {
            choices = choices
                .into_iter()
                .flat_map(|c| texts.iter().map(move |t| [&c[..], &[(name.as_str(), t.as_str())]].concat()))
                .collect();
        }
        for d in &dtypes {
            for c in &choices {
                check(s, d, wgsl::Binding::PLAIN, c);
                tried += 1;
            }
        }
    }
    assert!(tried >= wgsl::sections().len());
}

fn check(s: &wgsl::Section, dtypes: &[Dtype], binding: wgsl::Binding, choice: &[(&str, &str)]) {
    let source = wgsl::section_source(s, dtypes, binding, choice);
    if let Err(e) = validate(&source) {
        panic!("{} for {dtypes:?} with {choice:?}:\n{e}\n{source}", s.name);
    }
}

/// The first dtype of every tensor and the first text of every placeholder.
fn first_variant(s: &wgsl::Section) -> (Vec<Dtype>, Vec<(&str, &str)>) {
    let dtypes = s.slots.iter().map(|t| t.dtypes.first().copied().unwrap_or(Dtype::I32)).collect();
    (dtypes, s.variants.iter().map(|(name, texts)| (name.as_str(), texts[0].as_str())).collect())
}

#[test]
fn sections_are_valid_with_tensors_in_windows() {
    for s in wgsl::sections().values() {
        let (dtypes, choice) = first_variant(s);
        let windows: Vec<usize> = s.slots.iter().map(|t| if t.way == Use::Atomic { 1 } else { 3 }).collect();
        check(s, &dtypes, wgsl::Binding { items: 1, windows: &windows, window: 1 << 27 }, &choice);
    }
}

#[test]
fn sections_are_valid_for_several_items() {
    // Those that `for_each` is called with.
    for name in ["sgd", "adam", "adamax", "nadam", "radam", "rmsprop", "adagrad", "squares", "clip"] {
        let s = &wgsl::sections()[name];
        let (dtypes, choice) = first_variant(s);
        check(s, &dtypes, wgsl::Binding { items: 5, windows: &[], window: 1 << 27 }, &choice);
    }
}

#[test]
fn every_primitive_is_valid_where_it_exists() {
    use super::elementwise::{Place, Shape, supports};
    use crate::expr::builder::{build, input, prim};
    use crate::expr::prim::Prim;
    use smallvec::smallvec;
    let mut missing = Vec::new();
    for &p in Prim::ALL {
        let arity = p.info().arity;
        let formula = build(|| prim(p, &(0..arity).map(input).collect::<Vec<_>>()));
        for compute in ["f32", "f64", "i32", "i64"] {
            if !supports(&formula, compute) {
                if compute == "f32" && p.info().f32.is_some() {
                    missing.push(p.info().name);
                }
                continue;
            }
            let d = match compute {
                "f32" => Dtype::F32,
                "f64" => Dtype::F64,
                "i32" => Dtype::I16,
                _ => Dtype::I64,
            };
            for place in [Place::Same, Place::Strided, Place::One] {
                for out in [d, Dtype::Bool] {
                    let shape = Shape {
                        formula: &formula,
                        compute,
                        inputs: (0..arity).map(Some).collect(),
                        tensors: smallvec![(d, place); arity],
                        cut: None,
                        out,
                        whole_words: true,
                        out_strided: false,
                        rank: 3,
                        params: 0,
                    };
                    let source = shape.source();
                    if let Err(e) = validate(&source) {
                        panic!("{} in {compute}:\n{e}\n{source}", p.info().name);
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "primitives without a kernel: {missing:?}");
}

#[test]
fn every_dtype_is_read_and_written() {
    for d in
        [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16, Dtype::I64, Dtype::I32, Dtype::I16, Dtype::I8, Dtype::U8, Dtype::Bool]
    {
        let source = wgsl::kernel(&wgsl::Source {
            slots: &[("x", d, Use::In), ("y", d, Use::Out)],
            binding: wgsl::Binding { items: 1, windows: &[2, 3], window: 1 << 20 },
            params: &[],
            body: "fn element(i: u32) { y_set(i, x_at(i)); }\n",
            compute: "f32",
        });
        if let Err(e) = validate(&source) {
            panic!("{d:?}:\n{e}\n{source}");
        }
    }
}
