import net from 'node:net';

/** Unit tests reach nothing: a forgotten fake fails here with a sentence instead of a slow time-out elsewhere. */
net.Socket.prototype.connect = () => {
  throw new Error('A unit test tried to open a connection: give it an object with the methods it calls');
};
