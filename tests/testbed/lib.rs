//! Real RocketMQ servers and clients for tests and the demo.
