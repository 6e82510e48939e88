//! KVM's side for one virtual CPU, after `arch/x86/kvm/x86.c` and
//! `virt/kvm/async_pf.c`: what it may have outstanding, how it numbers, and
//! when it delivers.

use std::collections::VecDeque;

use apf_core::protocol::{Area, OUTSTANDING_PER_VCPU, Token};

/// A fault that the host works on.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    token: Token,
    done: bool,
}

#[derive(Debug)]
pub struct Host {
    vcpu_id: u32,
    ids: u32,
    next_id: u32,
    legacy: bool,
    armed: bool,
    outstanding: Vec<Outstanding>,
    /// Completed, not delivered yet.
    done: VecDeque<Token>,
    /// A token was delivered and not acknowledged (`apf.pageready_pending`).
    pending: bool,
    /// The interrupt is raised. Edges coalesce while it is.
    interrupt: bool,
    /// Ready tokens to be injected as #PF.
    legacy_ready: VecDeque<Token>,
    /// Ready tokens delivered in this generation of the core.
    pub delivered: Vec<Token>,
}

impl Host {
    pub fn new(vcpu_id: u32, ids: u32, first_id: u32, legacy: bool) -> Self {
        Self {
            vcpu_id,
            ids,
            next_id: first_id,
            legacy,
            armed: false,
            outstanding: Vec::new(),
            done: VecDeque::new(),
            pending: false,
            interrupt: false,
            legacy_ready: VecDeque::new(),
            delivered: Vec::new(),
        }
    }

    /// Starts a page-in; `None` if it has to be synchronous.
    pub fn start(&mut self) -> Option<Token> {
        if !self.armed || self.outstanding.len() == OUTSTANDING_PER_VCPU {
            return None;
        }
        let token = (0..self.ids).find_map(|_| {
            let token = self.number();
            // KVM would have to go through 2^20 faults for this. Here ids may be few.
            let in_use = self.outstanding.iter().any(|o| o.token == token);
            (!in_use).then_some(token)
        })?;
        self.outstanding.push(Outstanding { token, done: false });
        Some(token)
    }

    /// `alloc_apf_token`: the id in the upper 20 bits, never 0.
    fn number(&mut self) -> Token {
        if self.next_id.is_multiple_of(self.ids) {
            self.next_id = 1;
        }
        let id = self.next_id % self.ids;
        self.next_id = id + 1;
        Token(id << 12 | self.vcpu_id)
    }

    /// Has the page of the `nth` fault it works on.
    pub fn complete(&mut self, nth: u8, area: &Area) -> bool {
        let working = self.outstanding.iter().filter(|o| !o.done).count();
        if working == 0 {
            return false;
        }
        let fault = self.outstanding.iter_mut().filter(|o| !o.done).nth(nth as usize % working).unwrap();
        fault.done = true;
        self.done.push_back(fault.token);
        self.deliver(area);
        true
    }

    /// Has the page of the fault it began last.
    pub fn complete_newest(&mut self, area: &Area) {
        if let Some(fault) = self.outstanding.last_mut().filter(|o| !o.done) {
            fault.done = true;
            self.done.push_back(fault.token);
            self.deliver(area);
        }
    }

    /// Has the page of the `nth` fault it works on, whose ready another core is
    /// to get.
    pub fn hand_over(&mut self, nth: u8) -> Option<Token> {
        let working: Vec<Token> = self.outstanding.iter().filter(|o| !o.done).map(|o| o.token).collect();
        let token = *working.get((nth as usize).checked_rem(working.len())?)?;
        self.outstanding.retain(|o| o.token != token);
        Some(token)
    }

    /// Forgets the `nth` fault without a ready.
    pub fn lose(&mut self, nth: u8) -> bool {
        let lost = !self.outstanding.is_empty();
        if lost {
            let fault = self.outstanding.remove(nth as usize % self.outstanding.len());
            self.done.retain(|&token| token != fault.token);
        }
        lost
    }

    /// Returns whether the ready event of a fault is still to come.
    pub fn works_on(&self, token: Token) -> bool {
        self.outstanding.iter().any(|fault| fault.token == token)
    }

    pub fn send(&mut self, token: Token, area: &Area) {
        self.done.push_back(token);
        self.deliver(area);
    }

    pub fn overwrite(&mut self, token: Token, area: &Area) {
        if self.legacy {
            return self.send(token, area);
        }
        self.delivered.push(token);
        area.host_writes_token(token);
        self.interrupt = true;
    }

    /// `kvm_check_async_pf_completion`: only into an empty, acknowledged area.
    fn deliver(&mut self, area: &Area) {
        while self.armed && (self.legacy || (!self.pending && area.ready_token() == Token::NONE)) {
            let Some(token) = self.done.pop_front() else { return };
            self.outstanding.retain(|o| o.token != token);
            self.delivered.push(token);
            if self.legacy {
                self.legacy_ready.push_back(token);
            } else {
                area.host_writes_token(token);
                self.pending = true;
                self.interrupt = true;
            }
        }
    }

    /// The core takes its interrupt, if one is raised.
    pub fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.interrupt)
    }

    pub fn take_legacy_ready(&mut self) -> Option<Token> {
        self.legacy_ready.pop_front()
    }

    /// The ACK register was written.
    pub fn acknowledge(&mut self, area: &Area) {
        self.pending = false;
        self.deliver(area);
    }

    /// A host that lied goes on without an acknowledgement that will not come:
    /// it may stall the guest as it likes, which would be all there is to see.
    pub fn relent(&mut self, area: &Area) {
        if area.ready_token() == Token::NONE {
            self.acknowledge(area);
        }
        self.interrupt |= area.ready_token() != Token::NONE;
    }

    /// The EN register was written with the area: every such write wakes all.
    pub fn arm(&mut self, area: &Area) {
        self.armed = true;
        self.delivered.clear();
        self.send(Token::WAKE_ALL, area);
    }

    /// The EN register was written with 0. An interrupt raised before stays.
    /// Returns the ready tokens of other cores' faults that it has not delivered.
    pub fn disarm(&mut self) -> Vec<Token> {
        self.armed = false;
        self.pending = false;
        self.outstanding.clear();
        self.legacy_ready.clear();
        let own = |token: &Token| token.0 & 0xfff == self.vcpu_id;
        self.done.drain(..).filter(|token| token.names_a_fault() && !own(token)).collect()
    }

    /// The guest goes on on a host like this one when it was new. Its memory, the area with it,
    /// and its interrupt controller come along.
    pub fn restore(&mut self, first_id: u32, loses_registers: bool, area: &Area) {
        self.outstanding.clear();
        self.done.clear();
        self.legacy_ready.clear();
        self.pending = false;
        self.next_id = first_id;
        self.armed &= !loses_registers;
        if self.armed {
            self.send(Token::WAKE_ALL, area);
        }
    }

    pub fn is_armed(&self) -> bool {
        self.armed
    }

    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && self.done.is_empty() && self.legacy_ready.is_empty() && !self.interrupt
    }
}
