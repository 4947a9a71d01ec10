//! The rows that run beside the parts of a stack: what each part adds is added on the way to the next norm.
//! Encoders and the decoders that attend to them hold one through their layers.
//! Invariant: a row depends on that row alone.

use super::linear::Linear;
use crate::error::Result;
use crate::ops::layer_norm::{Kept, LayerNorm, SumNormed};
use crate::ops::packed::RowSource;
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, chosen, values};

/// Rows, and what the part before still adds to them.
pub(crate) struct Residual<'a> {
    x: Lent<'a>,
    delta: Option<Lent<'a>>,
    kept: Kept,
    pool: &'a Pool,
}

impl<'a> Residual<'a> {
    /// Rows `x`, of which the next part adds to what `kept` says.
    pub(crate) fn new(x: Lent<'a>, kept: Kept, pool: &'a Pool) -> Self {
        Self { x, delta: None, kept, pool }
    }

    /// Adds what a part gave.
    pub(crate) fn add(&mut self, delta: Lent<'a>) {
        debug_assert!(self.delta.is_none(), "two parts in a row without a norm between");
        self.delta = Some(delta);
    }

    /// Applies layers to the norm of the sum.
    ///
    /// # Errors
    /// `Internal` if widths do not agree or a thread panics.
    pub(crate) fn forward<const N: usize>(
        &mut self,
        layers: [&Linear; N],
        norm: Option<&LayerNorm>,
    ) -> Result<[Lent<'a>; N]> {
        let (rows, columns) = self.x.dims2()?;
        let delta = self.delta.take();
        if delta.is_none() && self.kept == Kept::Sum {
            let x = values(&self.x)?;
            let source = SumNormed::new(&x, None, norm, columns, self.pool.tier())?;
            return Linear::forward_together(layers, &source as &dyn RowSource, self.pool);
        }
        let mut place = self.pool.take_values(rows * columns);
        let outputs = {
            let (x, delta) = (values(&self.x)?, delta.as_ref().map(|delta| values(delta)).transpose()?);
            let source = SumNormed::new(&x, delta.as_deref(), norm, columns, self.pool.tier())?;
            let source = source.keeping(self.kept, &mut place)?;
            Linear::forward_together(layers, &source as &dyn RowSource, self.pool)?
        };
        self.x = Lent::new(place, rows, columns, self.pool)?;
        Ok(outputs)
    }

    /// The norm of the sum.
    ///
    /// # Errors
    /// As [`Residual::forward`].
    pub(crate) fn finish(self, norm: Option<&LayerNorm>) -> Result<Lent<'a>> {
        let (_, columns) = self.x.dims2()?;
        let (x, delta) = (values(&self.x)?, self.delta.as_ref().map(|delta| values(delta)).transpose()?);
        SumNormed::new(&x, delta.as_deref(), norm, columns, self.pool.tier())?.into_rows(self.pool)
    }

    /// Some of the rows.
    ///
    /// # Errors
    /// `Internal` for a row that is not there.
    pub(crate) fn chosen(&self, wanted: &[usize]) -> Result<Self> {
        let delta = self.delta.as_ref().map(|delta| chosen(delta, wanted, self.pool)).transpose()?;
        Ok(Self { x: chosen(&self.x, wanted, self.pool)?, delta, kept: self.kept, pool: self.pool })
    }
}
