//! A stand-in for AMX, so that its kernels are tested on CPUs without it: the tile instructions, computed in software
//! when the CPU refuses them. `ops_packed.rs` installs it; it serves the instructions that the kernels use.
//! Invariant: what the real unit would refuse (wrong shapes, wrong encodings) ends the process here too.
//!
//! After Intel's manual, volume 2: the encodings, and what each instruction computes.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, zeroed};
use std::sync::OnceLock;

use engine::ops::packed::Tier;

const ROWS: usize = 16;
const ROW_BYTES: usize = 64;
type Tile = [[u8; ROW_BYTES]; ROWS];
type Registers = [libc::greg_t; 23];

/// The state of a thread's unit.
struct Unit {
    tiles: [Tile; 8],
    rows: [usize; 8],
    row_bytes: [usize; 8],
}

thread_local! {
    static UNIT: UnsafeCell<Unit> = const {
        UnsafeCell::new(Unit { tiles: [[[0; ROW_BYTES]; ROWS]; 8], rows: [0; 8], row_bytes: [0; 8] })
    };
}

/// Makes the tile instructions work in this process. False, with the reason printed, where it cannot.
pub(crate) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        if !Tier::Avx512.supported() {
            println!("skipped: the AMX tier needs AVX-512, which this CPU lacks");
            return false;
        }
        // SAFETY: a zeroed action is an empty one, and the handler has the form that SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = zeroed();
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_refused;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()) == 0
        }
    })
}

extern "C" fn on_refused(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the system hands the interrupted thread's context over. The unit is this thread's own, and nothing else
    // looks at it while the thread is in here.
    unsafe {
        let registers: &mut Registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let executed = UNIT.with(|unit| {
            let instruction = Instruction::decode(registers)?;
            (*unit.get()).execute(&instruction).then_some(instruction.len)
        });
        match executed {
            Some(len) => registers[libc::REG_RIP as usize] += len as libc::greg_t,
            // Not ours: the instruction is tried again and ends the process.
            None => _ = libc::signal(libc::SIGILL, libc::SIG_DFL),
        }
    }
}

/// An instruction encoded with a VEX prefix of three bytes, from the second map of opcodes.
struct Instruction {
    opcode: u8,
    /// None, 66, F3 or F2: 0 to 3.
    prefix: u8,
    /// The register fields: of the ModRM byte, its last one if it names a register, and that of the prefix.
    reg: usize,
    rm: Option<usize>,
    second: usize,
    /// The address, and the index that counts from row to row.
    address: usize,
    stride: usize,
    len: usize,
}

impl Instruction {
    /// # Safety
    /// The instruction pointer among `registers` points at an instruction.
    unsafe fn decode(registers: &Registers) -> Option<Self> {
        let at = registers[libc::REG_RIP as usize] as *const u8;
        // SAFETY: the CPU read an instruction there; what is looked at is part of it, checked byte by byte.
        let byte = |index: usize| unsafe { at.add(index).read() };
        let (first, second, opcode, modrm) = (byte(1), byte(2), byte(3), byte(4));
        // The map is 0F38, W is 0, and vectors have 128 bits.
        if byte(0) != 0xc4 || first & 0x1f != 2 || second & 0x84 != 0 {
            return None;
        }
        let (index_high, base_high) = (usize::from(!first >> 6 & 1) << 3, usize::from(!first >> 5 & 1) << 3);
        let mut found = Self {
            opcode,
            prefix: second & 3,
            reg: usize::from(modrm >> 3 & 7),
            rm: None,
            second: usize::from(!second >> 3 & 15),
            address: 0,
            stride: 0,
            len: 5,
        };
        let mode = modrm >> 6;
        if mode == 3 {
            found.rm = Some(usize::from(modrm & 7));
            return Some(found);
        }
        let mut base = usize::from(modrm & 7);
        if base == 4 {
            let sib = byte(5);
            found.len = 6;
            base = usize::from(sib & 7);
            let index = usize::from(sib >> 3 & 7) | index_high;
            found.stride = if index == 4 { 0 } else { general(registers, index) << (sib >> 6) };
        }
        // Without displacement, base 5 means something else, which compilers do not use for tiles.
        if mode == 0 && base == 5 {
            return None;
        }
        let displacement = match mode {
            1 => isize::from(byte(found.len) as i8),
            2 => i32::from_le_bytes(std::array::from_fn(|i| byte(found.len + i))) as isize,
            _ => 0,
        };
        found.len += [0, 1, 4][usize::from(mode)];
        found.address = general(registers, base | base_high).wrapping_add_signed(displacement);
        Some(found)
    }
}

/// A general register by its number in an instruction.
fn general(registers: &Registers, number: usize) -> usize {
    const FIRST: [i32; 8] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
    ];
    let place = if number < 8 { FIRST[number] } else { libc::REG_R8 + number as i32 - 8 };
    registers[place as usize] as usize
}

impl Unit {
    /// Whether it was an instruction of the unit, and allowed.
    /// # Safety
    /// The addresses are the program's own, good for what the instruction reads or writes.
    unsafe fn execute(&mut self, instruction: &Instruction) -> bool {
        let Instruction { opcode, prefix, reg, rm, second, address, stride, .. } = *instruction;
        // SAFETY: the caller's.
        unsafe {
            match (opcode, prefix, rm) {
                (0x49, 0, None) => return self.configure(&*(address as *const [u8; 64])),
                (0x49, 0, Some(0)) => (self.rows, self.row_bytes) = ([0; 8], [0; 8]),
                (0x49, 3, Some(0)) => self.tiles[reg] = [[0; ROW_BYTES]; ROWS],
                (0x4b, 3, None) => {
                    self.tiles[reg] = [[0; ROW_BYTES]; ROWS];
                    for row in 0..self.rows[reg] {
                        let from = address.wrapping_add(row.wrapping_mul(stride)) as *const u8;
                        from.copy_to_nonoverlapping(self.tiles[reg][row].as_mut_ptr(), self.row_bytes[reg]);
                    }
                }
                (0x4b, 2, None) => {
                    for row in 0..self.rows[reg] {
                        let to = address.wrapping_add(row.wrapping_mul(stride)) as *mut u8;
                        to.copy_from_nonoverlapping(self.tiles[reg][row].as_ptr(), self.row_bytes[reg]);
                    }
                }
                (0x5e, 3, Some(rm)) if self.fit(reg, rm, second) => self.multiply(reg, rm, second, bytes_product),
                (0x5c, 2, Some(rm)) if self.fit(reg, rm, second) => self.multiply(reg, rm, second, brains_product),
                _ => return false,
            }
        }
        // Nothing but these works on tiles that were given no shape.
        opcode == 0x49 || self.rows[reg] > 0
    }

    /// LDTILECFG.
    fn configure(&mut self, shapes: &[u8; 64]) -> bool {
        let reserved = shapes[2..16].iter().chain(&shapes[32..48]).chain(&shapes[56..]);
        if shapes[0] != 1 || shapes[1] != 0 || reserved.copied().any(|byte| byte != 0) {
            return false;
        }
        for tile in 0..8 {
            let bytes = usize::from(u16::from_le_bytes([shapes[16 + 2 * tile], shapes[17 + 2 * tile]]));
            let rows = usize::from(shapes[48 + tile]);
            if rows > ROWS || bytes > ROW_BYTES || (rows == 0) != (bytes == 0) {
                return false;
            }
            (self.rows[tile], self.row_bytes[tile], self.tiles[tile]) = (rows, bytes, [[0; ROW_BYTES]; ROWS]);
        }
        true
    }

    /// Whether these tiles can be multiplied.
    fn fit(&self, sums: usize, left: usize, right: usize) -> bool {
        let distinct = sums != left && sums != right && left != right && right < 8;
        distinct
            && self.rows[sums] == self.rows[left]
            && self.row_bytes[sums] == self.row_bytes[right]
            && self.row_bytes[left] == 4 * self.rows[right]
            && self.rows[sums] > 0
            && self.rows[right] > 0
    }

    fn multiply(&mut self, sums: usize, left: usize, right: usize, product: fn(&mut [u8; 64], &[u8], &Tile)) {
        let (rows, bytes) = (self.rows[sums], self.row_bytes[left]);
        let right = self.tiles[right];
        for row in 0..rows {
            let left = self.tiles[left][row];
            product(&mut self.tiles[sums][row], &left[..bytes], &right);
        }
    }
}

/// TDPBSSD, a row of it: signed bytes, four at a time. (Sums of 16 always: columns beyond the shape stay zero.)
fn bytes_product(sums: &mut [u8; 64], left: &[u8], right: &Tile) {
    let mut wide: [i32; 16] = std::array::from_fn(|n| i32::from_le_bytes(std::array::from_fn(|i| sums[4 * n + i])));
    for (four, right) in left.chunks_exact(4).zip(right) {
        for (n, sum) in wide.iter_mut().enumerate() {
            for i in 0..4 {
                *sum += i32::from(four[i] as i8) * i32::from(right[4 * n + i] as i8);
            }
        }
    }
    for (to, sum) in sums.chunks_exact_mut(4).zip(wide) {
        to.copy_from_slice(&sum.to_le_bytes());
    }
}

/// TDPBF16PS, a row of it: the first numbers of all pairs are summed, the second ones too, then both together are added.
/// The instruction rounds a product and its sum once; a product of bfloats is exact, so two operations do the same.
/// Numbers below the normal ones count as zero.
fn brains_product(sums: &mut [u8; 64], left: &[u8], right: &Tile) {
    let flush = |x: f32| if x.is_subnormal() { 0.0 } else { x };
    let brain = |bytes: &[u8]| flush(f32::from_bits(u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 24));
    let mut parts = [[0_f32; 2]; 16];
    for (pair, right) in left.chunks_exact(4).zip(right) {
        let pair = [brain(&pair[..2]), brain(&pair[2..])];
        for (n, part) in parts.iter_mut().enumerate() {
            for i in 0..2 {
                part[i] = flush(part[i] + pair[i] * brain(&right[4 * n + 2 * i..][..2]));
            }
        }
    }
    for (to, part) in sums.chunks_exact_mut(4).zip(parts) {
        let sum = flush(f32::from_le_bytes([to[0], to[1], to[2], to[3]]));
        to.copy_from_slice(&flush(sum + flush(part[0] + part[1])).to_le_bytes());
    }
}

#[test]
fn it_computes_what_the_unit_would() {
    if Tier::Amx.supported() || !install() {
        return;
    }
    let mut shapes = [0_u8; 64];
    shapes[0] = 1;
    for (tile, rows, bytes) in [(0, 3, 8), (1, 3, 16), (2, 4, 8)] {
        (shapes[48 + tile], shapes[16 + 2 * tile]) = (rows, bytes);
    }
    let left: [[i8; 16]; 3] = std::array::from_fn(|row| std::array::from_fn(|k| (row * 50 + k) as i8 - 60));
    let right: [[i8; 8]; 4] = std::array::from_fn(|row| std::array::from_fn(|k| 90 - (row * 40 + k) as i8));
    let mut sums = MaybeUninit::<[[i32; 2]; 3]>::uninit();
    // SAFETY: the tiles' shapes are those of the arrays; what the CPU lacks is emulated.
    let sums = unsafe {
        std::arch::asm!(
            "ldtilecfg [{shapes}]",
            "tilezero tmm0",
            "tileloadd tmm1, [{left} + {sixteen}*1]",
            "tileloadd tmm2, [{right} + {eight}*1]",
            "tdpbssd tmm0, tmm1, tmm2",
            "tilestored [{sums} + {eight}*1], tmm0",
            "tilerelease",
            shapes = in(reg) &shapes,
            left = in(reg) &left,
            right = in(reg) &right,
            sums = in(reg) sums.as_mut_ptr(),
            sixteen = in(reg) 16_usize,
            eight = in(reg) 8_usize,
            options(nostack),
        );
        sums.assume_init()
    };
    for (row, sums) in sums.iter().enumerate() {
        for (n, &sum) in sums.iter().enumerate() {
            let exact: i32 = (0..16).map(|k| i32::from(left[row][k]) * i32::from(right[k / 4][4 * n + k % 4])).sum();
            assert_eq!(sum, exact, "row {row}, sum {n}");
        }
    }
}
