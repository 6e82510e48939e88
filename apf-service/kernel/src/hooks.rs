//! The functions that the kernel provides, bound by the linker within the archive.

macro_rules! declare {
    ([] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        unsafe extern "Rust" {
            $($(#[$doc])* pub fn $name($($arg: $type),*) $(-> $ret)?;)*
        }
    };
}
apf_core::for_each_hook!(declare []);

/// Defines the functions that this crate calls, from an implementation of [`Hooks`](crate::Hooks).
#[macro_export]
macro_rules! provide_hooks {
    ($kernel:ty) => {
        $crate::for_each_hook! { $crate::define_hooks [$kernel] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! define_hooks {
    ([$kernel:ty] $($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            fn $name($($arg: $type),*) $(-> $ret)? {
                <$kernel as $crate::Hooks>::$name($($arg),*)
            }
        )*
    };
}
