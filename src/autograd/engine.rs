//! The backward pass: an iterative walk in reverse order of recording.

use super::node::Kind;
use super::{Ctx, Edge, Node, is_grad_enabled, set_grad_enabled};
use crate::error::Result;
use crate::layout::show;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;
use std::collections::{BinaryHeap, HashMap};
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
type Numbers = HashMap<usize, u32, BuildHasherDefault<AddressHasher>>;

/// A node below the roots.
struct Slot<'a> {
    node: &'a Arc<Node>,
    /// Gradients that have not arrived.
    waiting: u32,
    /// It is in the queue, or was.
    queued: bool,
    /// Where its edges begin in [`Graph::targets`].
    edges: usize,
    grads: SmallVec<[Option<Tensor>; 1]>,
}

impl Slot<'_> {
    fn add(&mut self, nr: u32, g: Tensor) -> Result<()> {
        if self.grads.is_empty() {
            self.grads.resize(self.node.outputs, None);
        }
        let sum = match self.grads[nr as usize].take() {
            None => g,
            Some(old) => crate::ops::elementwise::add(&old, &g)?,
        };
        self.grads[nr as usize] = Some(sum);
        Ok(())
    }
}

/// All nodes below the roots, numbered. They live as long as the roots, whose nodes hold them.
struct Graph<'a> {
    slots: Vec<Slot<'a>>,
    /// For each edge of each slot the number of the slot it leads to.
    targets: Vec<u32>,
    /// The numbers by address, once there are more than [`FEW`].
    numbers: Numbers,
}

/// Nodes up to which looking at all of them finds one fastest.
const FEW: usize = 12;
const NOWHERE: u32 = u32::MAX;

impl<'a> Graph<'a> {
    fn below(roots: &'a [Edge]) -> Graph<'a> {
        let mut g = Graph { slots: Vec::with_capacity(FEW), targets: Vec::with_capacity(2 * FEW), numbers: Numbers::default() };
        for e in roots {
            g.number(&e.node);
        }
        let mut i = 0;
        while i < g.slots.len() {
            let node = g.slots[i].node;
            g.slots[i].edges = g.targets.len();
            for e in &node.edges {
                let target = e.as_ref().map_or(NOWHERE, |e| {
                    let t = g.number(&e.node);
                    g.slots[t as usize].waiting += 1;
                    t
                });
                g.targets.push(target);
            }
            i += 1;
        }
        g
    }

    fn find(&self, node: &Arc<Node>) -> Option<u32> {
        if self.slots.len() <= FEW {
            return self.slots.iter().position(|s| Arc::ptr_eq(s.node, node)).map(|i| i as u32);
        }
        self.numbers.get(&key(node)).copied()
    }

    /// The number of a node; a new one where it has none.
    fn number(&mut self, node: &'a Arc<Node>) -> u32 {
        if let Some(i) = self.find(node) {
            return i;
        }
        let new = self.slots.len();
        self.slots.push(Slot { node, waiting: 0, queued: false, edges: 0, grads: SmallVec::new() });
        if new == FEW {
            self.numbers = self.slots.iter().enumerate().map(|(i, s)| (key(s.node), i as u32)).collect();
        } else if new > FEW {
            self.numbers.insert(key(node), new as u32);
        }
        new as u32
    }

    fn targets(&self, i: usize) -> &[u32] {
        let from = self.slots[i].edges;
        &self.targets[from..from + self.slots[i].node.edges.len()]
    }

    /// The slots that `on_way` marks, and those that lead to one.
    fn leading_to(&self, mut on_way: Vec<bool>) -> Vec<bool> {
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.sort_by_key(|&i| match self.slots[i].node.kind {
            Kind::Accumulate(_) => 0,
            Kind::Op => self.slots[i].node.sequence,
        });
        for i in order {
            if self.leads(i, &on_way) {
                on_way[i] = true;
            }
        }
        on_way
    }

    /// Whether an edge of slot `i` leads to a marked one.
    fn leads(&self, i: usize, marked: &[bool]) -> bool {
        self.targets(i).iter().any(|&t| t != NOWHERE && marked[t as usize])
    }
}

fn key(n: &Arc<Node>) -> usize {
    Arc::as_ptr(n) as usize
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

fn run(
    roots: &[Tensor],
    given: &[Option<Tensor>],
    retain: bool,
    create: bool,
    inputs: Option<&[Tensor]>,
) -> Result<Vec<Option<Tensor>>> {
    let mut start: SmallVec<[Edge; 1]> = SmallVec::new();
    let mut first: SmallVec<[Tensor; 1]> = SmallVec::new();
    for (i, root) in roots.iter().enumerate() {
        let Some(edge) = root.grad_edge() else {
            bail!(Runtime, "element {i} of tensors does not require grad and does not have a grad_fn");
        };
        start.push(edge);
        first.push(first_gradient(root, given.get(i).and_then(Option::as_ref))?);
    }
    let mut graph = Graph::below(&start);

    // For each slot the (result, input) whose gradient is caught there, and which slots lead to those: only they run.
    let mut catch: Vec<SmallVec<[(u32, usize); 1]>> = Vec::new();
    let mut caught: Vec<Option<Tensor>> = vec![None; inputs.map_or(0, <[Tensor]>::len)];
    let mut needed: Option<Vec<bool>> = None;
    if let Some(inputs) = inputs {
        catch.resize(graph.slots.len(), SmallVec::new());
        for (i, t) in inputs.iter().enumerate() {
            if let Some(e) = t.grad_edge()
                && let Some(slot) = graph.find(&e.node)
            {
                catch[slot as usize].push((e.nr, i));
            }
        }
        needed = Some(graph.leading_to(catch.iter().map(|c| !c.is_empty()).collect()));
    }

    // The latest recorded runs first; a leaf as soon as its gradient is complete.
    let mut ready: BinaryHeap<(u64, u32)> = BinaryHeap::new();
    for (e, g) in start.iter().zip(first) {
        let i = graph.number(&e.node);
        let slot = &mut graph.slots[i as usize];
        slot.add(e.nr, g)?;
        if slot.waiting == 0 && !std::mem::replace(&mut slot.queued, true) {
            ready.push((e.node.sequence, i));
        }
    }

    let keep = retain || create;
    let _mode = GradMode(is_grad_enabled());
    set_grad_enabled(create);

    while let Some((_, i)) = ready.pop() {
        let i = i as usize;
        let node = graph.slots[i].node;
        let mut grads = std::mem::take(&mut graph.slots[i].grads);
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
            for &(nr, input) in catch.get(i).into_iter().flatten() {
                caught[input] = grads[nr as usize].clone();
            }
        }
        match &node.kind {
            Kind::Accumulate(leaf) => {
                if inputs.is_none()
                    && any
                    && let Some(g) = grads[0].take()
                {
                    accumulate(leaf, g, create)?;
                    for hook in leaf.leaf_post_hooks() {
                        hook(leaf)?;
                    }
                }
            }
            Kind::Op => {
                let runs = any && needed.as_ref().is_none_or(|n| n[i] && graph.leads(i, n));
                let results = if runs {
                    let f = node.take_fn(keep)?;
                    let results = f(&Ctx { node }, &grads)?;
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
                let edges = graph.slots[i].edges;
                for (k, edge) in node.edges.iter().enumerate() {
                    let g = results.as_mut().and_then(|r| r.next().flatten());
                    let Some(e) = edge else { continue };
                    let target = graph.targets[edges + k];
                    let slot = &mut graph.slots[target as usize];
                    if let Some(g) = g {
                        slot.add(e.nr, g)?;
                    }
                    slot.waiting -= 1;
                    if slot.waiting == 0 && !std::mem::replace(&mut slot.queued, true) {
                        ready.push((slot.node.sequence, target));
                    }
                }
            }
        }
    }
    Ok(caught)
}
