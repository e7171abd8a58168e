fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let s = fulgurite_benches::compile::sources(&[n]);
    let text = &s[1].text;
    let kernels: Vec<_> = (0..10).map(|_| fulgurite::ir::text::parse(text).unwrap()).collect();
    verify_emit(kernels);
}
#[inline(never)]
fn verify_emit(kernels: Vec<fulgurite::ir::Kernel>) {
    for k in kernels {
        let v = verify(k);
        emit(&v);
        std::mem::forget(v);
    }
}
#[inline(never)]
fn verify(k: fulgurite::ir::Kernel) -> fulgurite::ir::VerifiedKernel { fulgurite::ir::verify(k).unwrap() }
#[inline(never)]
fn emit(k: &fulgurite::ir::VerifiedKernel) { std::hint::black_box(fulgurite_benches::compile::to_spirv(k)); }
