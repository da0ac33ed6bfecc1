//! The backward pass: an iterative walk in reverse order of recording.

use super::node::Kind;
use super::{Ctx, Edge, Node, is_grad_enabled, set_grad_enabled};
use crate::error::Result;
use crate::layout::show;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Nodes are keyed by address; the address is a good hash already.
#[derive(Default)]
struct AddressHasher(u64);
impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only addresses are hashed")
    }
    fn write_usize(&mut self, v: usize) {
        self.0 = (v as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
type Map<V> = HashMap<usize, V, BuildHasherDefault<AddressHasher>>;
type Set = HashSet<usize, BuildHasherDefault<AddressHasher>>;

fn key(n: &Arc<Node>) -> usize {
    Arc::as_ptr(n) as usize
}

/// A node whose gradients are complete; the latest recorded runs first.
struct Task {
    node: Arc<Node>,
}
impl PartialEq for Task {
    fn eq(&self, o: &Task) -> bool {
        self.node.sequence == o.node.sequence
    }
}
impl Eq for Task {}
impl PartialOrd for Task {
    fn partial_cmp(&self, o: &Task) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Task {
    fn cmp(&self, o: &Task) -> std::cmp::Ordering {
        self.node.sequence.cmp(&o.node.sequence)
    }
}

struct Pending {
    waiting: u32,
    grads: SmallVec<[Option<Tensor>; 2]>,
}

/// Restores the grad mode however the pass ends.
struct GradMode(bool);
impl Drop for GradMode {
    fn drop(&mut self) {
        set_grad_enabled(self.0);
    }
}

fn first_gradient(root: &Tensor, given: Option<&Tensor>) -> Result<Tensor> {
    match given {
        Some(g) => {
            ensure!(
                g.shape() == root.shape(),
                Runtime,
                "Mismatch in shape: grad_output[0] has a shape of torch.Size({}) and output[0] has a shape of torch.Size({}).",
                show(g.shape()),
                show(root.shape())
            );
            Ok(g.clone())
        }
        None => {
            ensure!(root.numel() == 1, Runtime, "grad can be implicitly created only for scalar outputs");
            ensure!(
                root.dtype().is_float() || root.dtype().is_complex(),
                Runtime,
                "grad can be implicitly created only for real scalar outputs but got {}",
                root.dtype().scalar_name()
            );
            Tensor::full(root.shape(), 1.0, root.dtype(), root.device())
        }
    }
}

/// Accumulates the gradients of `roots` into the leaves (or only into `inputs`, where given).
pub fn backward(roots: &[Tensor], given: &[Option<Tensor>], retain: bool, create: bool, inputs: Option<&[Tensor]>) -> Result<()> {
    match inputs {
        None => {
            run(roots, given, retain, create, None)?;
        }
        Some(inputs) => {
            let grads = run(roots, given, retain, create, Some(inputs))?;
            for (t, g) in inputs.iter().zip(grads) {
                if let Some(g) = g {
                    accumulate(t, g, create)?;
                }
            }
        }
    }
    Ok(())
}

/// The gradients of `roots` with respect to `inputs`; leaves are left alone.
pub fn grad(
    roots: &[Tensor],
    inputs: &[Tensor],
    given: &[Option<Tensor>],
    retain: bool,
    create: bool,
    allow_unused: bool,
) -> Result<Vec<Option<Tensor>>> {
    for t in inputs {
        ensure!(t.requires_grad(), Runtime, "One of the differentiated Tensors does not require grad");
    }
    let out = run(roots, given, retain, create, Some(inputs))?;
    if !allow_unused && let Some(i) = out.iter().position(Option::is_none) {
        bail!(
            Runtime,
            "The differentiated Tensor at index {i} appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."
        );
    }
    Ok(out)
}

fn accumulate(leaf: &Tensor, g: Tensor, create: bool) -> Result<()> {
    match leaf.grad() {
        None => {
            // The gradient may share memory with something the user holds; a leaf's is its own.
            let own = if create {
                g
            } else if Arc::strong_count(&g.0) == 1
                && Arc::strong_count(g.storage()) == 1
                && g.layout().is_dense()
                && !g.requires_grad()
            {
                g
            } else {
                crate::ops::copy::clone_dense(&g.detach())?
            };
            own.storage().settle(); // what is still pending would keep the activations
            leaf.set_grad(Some(own));
        }
        Some(old) if !create && !old.requires_grad() && old.dtype() == g.dtype() => {
            crate::ops::elementwise::add_into(&old, &g)?;
        }
        Some(old) => leaf.set_grad(Some(crate::ops::elementwise::add(&old, &g)?)),
    }
    Ok(())
}

fn add_grad(slot: &mut Option<Tensor>, g: Tensor) -> Result<()> {
    *slot = Some(match slot.take() {
        None => g,
        Some(old) => crate::ops::elementwise::add(&old, &g)?,
    });
    Ok(())
}

fn run(
    roots: &[Tensor],
    given: &[Option<Tensor>],
    retain: bool,
    create: bool,
    inputs: Option<&[Tensor]>,
) -> Result<Vec<Option<Tensor>>> {
    let mut pending: Map<Pending> = Map::default();
    let mut start: Vec<(Edge, Tensor)> = Vec::with_capacity(roots.len());
    for (i, root) in roots.iter().enumerate() {
        let Some(edge) = root.grad_edge() else {
            bail!(Runtime, "element {i} of tensors does not require grad and does not have a grad_fn");
        };
        start.push((edge, first_gradient(root, given.get(i).and_then(Option::as_ref))?));
    }

    // Where to catch gradients, and which nodes lead there.
    let mut catch: Map<SmallVec<[(u32, usize); 1]>> = Map::default();
    let mut caught: Vec<Option<Tensor>> = vec![None; inputs.map_or(0, <[Tensor]>::len)];
    if let Some(inputs) = inputs {
        for (i, t) in inputs.iter().enumerate() {
            if let Some(e) = t.grad_edge() {
                catch.entry(key(&e.node)).or_default().push((e.nr, i));
            }
        }
    }

    // Count how many gradients each node has to wait for.
    let mut seen: Set = Set::default();
    let mut stack: Vec<Arc<Node>> = Vec::new();
    let mut order: Vec<Arc<Node>> = Vec::new();
    for (e, _) in &start {
        if seen.insert(key(&e.node)) {
            stack.push(e.node.clone());
        }
    }
    let only_some = inputs.is_some();
    while let Some(n) = stack.pop() {
        for e in n.edges.iter().flatten() {
            pending.entry(key(&e.node)).or_insert_with(|| Pending { waiting: 0, grads: SmallVec::new() }).waiting += 1;
            if seen.insert(key(&e.node)) {
                stack.push(e.node.clone());
            }
        }
        if only_some {
            order.push(n);
        }
    }
    // With inputs given, only nodes on a way to one of them run.
    let mut needed: Option<Set> = None;
    if only_some {
        let mut set: Set = catch.keys().copied().collect();
        order.sort_by_key(|n| if matches!(n.kind, Kind::Accumulate(_)) { 0 } else { n.sequence });
        for n in &order {
            if n.edges.iter().flatten().any(|e| set.contains(&key(&e.node))) {
                set.insert(key(n));
            }
        }
        needed = Some(set);
    }

    let mut ready: BinaryHeap<Task> = BinaryHeap::new();
    for (e, g) in start {
        let p = pending.entry(key(&e.node)).or_insert_with(|| Pending { waiting: 0, grads: SmallVec::new() });
        if p.grads.is_empty() {
            p.grads = SmallVec::from_elem(None, e.node.outputs);
        }
        add_grad(&mut p.grads[e.nr as usize], g)?;
        if p.waiting == 0 && !ready.iter().any(|t| Arc::ptr_eq(&t.node, &e.node)) {
            ready.push(Task { node: e.node });
        }
    }

    let keep = retain || create;
    let _mode = GradMode(is_grad_enabled());
    set_grad_enabled(create);

    while let Some(Task { node }) = ready.pop() {
        let mut grads = pending.remove(&key(&node)).map(|p| p.grads).unwrap_or_default();
        if grads.is_empty() {
            grads = SmallVec::from_elem(None, node.outputs);
        }
        let any = grads.iter().any(Option::is_some);
        if any {
            if let Kind::Accumulate(leaf) = &node.kind {
                for hook in leaf.leaf_hooks() {
                    if let Some(new) = hook(grads[0].as_ref().unwrap())? {
                        grads[0] = Some(new);
                    }
                }
            }
            node.run_hooks(&mut grads)?;
            if let Some(targets) = catch.get(&key(&node)) {
                for &(nr, i) in targets {
                    caught[i] = grads[nr as usize].clone();
                }
            }
        }
        let wanted = needed.as_ref().is_none_or(|s| s.contains(&key(&node)));
        match &node.kind {
            Kind::Accumulate(leaf) => {
                if inputs.is_none()
                    && let Some(g) = grads[0].take()
                {
                    accumulate(leaf, g, create)?;
                    for hook in leaf.leaf_post_hooks() {
                        hook(leaf)?;
                    }
                }
            }
            Kind::Op => {
                let runs = any
                    && wanted
                    && needed.as_ref().is_none_or(|s| node.edges.iter().flatten().any(|e| s.contains(&key(&e.node))));
                let results = if runs {
                    let f = node.take_fn(keep)?;
                    let results = f(&Ctx { node: &node }, &grads)?;
                    ensure!(
                        results.len() == node.edges.len(),
                        Runtime,
                        "function {} returned an incorrect number of gradients (expected {}, got {})",
                        node.name,
                        node.edges.len(),
                        results.len()
                    );
                    Some(results)
                } else {
                    None
                };
                drop(grads);
                let mut results = results.map(IntoIterator::into_iter);
                for edge in &node.edges {
                    let g = results.as_mut().and_then(|r| r.next().flatten());
                    let Some(e) = edge else { continue };
                    let Some(p) = pending.get_mut(&key(&e.node)) else { continue };
                    if let Some(g) = g {
                        if p.grads.is_empty() {
                            p.grads = SmallVec::from_elem(None, e.node.outputs);
                        }
                        add_grad(&mut p.grads[e.nr as usize], g)?;
                    }
                    p.waiting -= 1;
                    if p.waiting == 0 {
                        ready.push(Task { node: e.node.clone() });
                    }
                }
            }
        }
    }
    Ok(caught)
}
