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
                let source = wgsl::section_source(s, d, c);
                if let Err(e) = validate(&source) {
                    panic!("{} for {d:?} with {c:?}:\n{e}\n{source}", s.name);
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= wgsl::sections().len());
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
            params: &[],
            body: "fn element(i: u32) { y_set(i, x_at(i)); }\n",
            compute: "f32",
        });
        if let Err(e) = validate(&source) {
            panic!("{d:?}:\n{e}\n{source}");
        }
    }
}
