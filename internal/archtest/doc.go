// Package archtest holds the house to its plan: which room may lean on which,
// where each prescribed library lives, and what the policy must never touch. It
// has no code, only the test; a broken floor fails the build with the reason.
package archtest
