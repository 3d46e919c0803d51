//! HTTP wire types shared by server, command line and tests.
